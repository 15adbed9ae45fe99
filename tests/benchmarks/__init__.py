"""Measurements, run by hand: each compares, in one run, what this project does with a named alternative."""
