"""Serves an artifact: GeoTIFF in, embeddings and land cover out, over HTTP."""
