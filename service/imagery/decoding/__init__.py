"""A supervised pool of decode processes, and what it and they say to each other."""
