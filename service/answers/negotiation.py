"""Which answer a client gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.answers.answer import Answer, MediaType
from service.answers.geojson import to_geojson
from service.answers.geotiff import to_geotiff
from service.answers.npy import to_npy
from service.answers.parquet import to_parquet
from service.answers.text import to_json, to_json_lines
from service.errors import ServiceError
from service.featurizer import TileResult
from service.model.artifact import Artifact
from service.options import Options

Encoder = Callable[[Sequence[TileResult], Artifact, Options], Answer]
ENCODERS: dict[MediaType, Encoder] = {
    "application/json": to_json,
    "application/jsonlines": to_json_lines,
    "application/x-npy": to_npy,
    "application/geo+json": to_geojson,
    "application/vnd.apache.parquet": to_parquet,
    "image/tiff": to_geotiff,
}


def negotiate(accept: str | None, default: MediaType = "application/json") -> MediaType:
    """The media type to answer with, from an Accept header; `default` where it leaves the choice to us.

    Raises ServiceError not_acceptable.
    """
    wanted = []
    for part in (accept or "*/*").split(","):
        media_type, _, parameters = part.strip().partition(";")
        quality = next((p.strip()[2:] for p in parameters.split(";") if p.strip().startswith("q=")), "1")
        wanted.append((-_number(quality), media_type.strip().lower()))
    for refused, media_type in sorted(wanted, key=lambda one: one[0]):
        if refused == 0:
            continue
        if media_type in ("*/*", "application/*"):
            return default
        for known in ENCODERS:
            if media_type == known:
                return known
    raise ServiceError("not_acceptable", f"Accept must be one of {', '.join(ENCODERS)}.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0
