"""An answer, and the media types that there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MediaType = Literal[
    "application/json",
    "application/jsonlines",
    "application/x-npy",
    "application/geo+json",
    "application/vnd.apache.parquet",
    "image/tiff",
]


@dataclass(frozen=True)
class Answer:
    """A body with its media type."""

    body: bytes
    media_type: str
