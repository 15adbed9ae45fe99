"""The page for people: what it is made of, and its routes."""
