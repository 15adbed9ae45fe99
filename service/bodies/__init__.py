"""Request bodies to tiles."""
