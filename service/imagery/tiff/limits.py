"""What one file may ask of the machine that reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Checked on a file's header, before anything is decoded.

    Absolute, not in proportion to the file: a scene of one value compresses a thousandfold and is none the worse.
    """

    max_pixels: int = 16_000_000  #: width × height
    max_bands: int = 512  #: imaging spectrometers have up to 400
    max_blocks: int = 262_144  #: strips and tiles of all directories; 16 million pixels in rows of 61
    max_block_bytes: int = 256_000_000  #: of a strip or tile, decoded; many writers make one strip of a whole image
    max_decoded_bytes: int = 1_000_000_000  #: of all strips or tiles of the image
    max_directories: int = 64  #: pages, overviews and masks
    max_entries: int = 4096  #: of all directories; about 20 is usual for one
    max_metadata_bytes: int = 524_288  #: text, colours, georeference of all directories; 19,500 items take GDAL 1 s
