"""Imagery ready for training: where it comes from, and the folder format that everything else reads."""
