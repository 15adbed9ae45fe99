"""TIFF files as containers: what a header asks for, and its limits."""
