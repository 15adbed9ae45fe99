"""Fuzzing, led by what was covered; not part of the tests, `make fuzz` runs it."""
