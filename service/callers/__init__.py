"""What is asked of callers before their tiles are read: a key, headers of a size, and a body in time."""
