"""GeoTIFF bytes to patches: band order, radiometry, windows, georeference, resize.

Knows nothing of HTTP or models, and imports no torch.
"""
