"""Hostile and odd files, made here, none of which works as an exploit; `python -m tests.corpus` shows what they meet.

Those that would lead a reader elsewhere lead to a `Canary`: a file and a port of the test's own.
"""
