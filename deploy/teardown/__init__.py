"""Everything of a stack removed, in an order in which nothing is in the way of anything."""
