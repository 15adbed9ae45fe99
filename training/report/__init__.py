"""One page about a run: how it learnt, what it is worth, and what it sees."""
