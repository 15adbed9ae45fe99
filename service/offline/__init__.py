"""Embeddings of files, folders and S3 prefixes, without a server: `python -m service embed`."""
