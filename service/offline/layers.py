"""What a GIS shows of a run: a map of one scene, and GeoJSON of all tiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from service.answers import records
from service.formats import cog, colours, geojson, geoparquet, qgis
from service.model.artifact import Artifact
from service.offline.journal import Journal


def write_map(journal: Journal, source: str, artifact: Artifact, stride: int | None, to: Path) -> list[Path]:
    """`to` with the probability of each label as a band; beside it the likeliest as `.classes.tif`, and their style.

    Of one finished tile, whose rows are read anew for each file: with a small stride there are millions. Returns the
    files. Raises ImageryError no_georeference.
    """
    manifest = artifact.manifest
    legend = colours.legend(manifest.labels, manifest.groups)
    grid = cog.Grid.of(next(_records(journal, source)), *journal.finished[source], stride)
    classes, style = to.with_suffix(".classes.tif"), to.with_suffix(".classes.qml")
    cog.write(to, _records(journal, source), list(legend), grid)
    cog.write_classes(classes, _records(journal, source), legend, grid)
    style.write_text(qgis.style(legend), encoding="utf-8")
    return [to, classes, style]


def write_geojson(journal: Journal, artifact: Artifact, to: Path) -> None:
    """A feature for each patch, without its embedding; one at a time, since there may be millions."""
    head = geojson.collection([], records.of_model(artifact)) | {"features": []}
    opening = orjson.dumps(head).removesuffix(b"]}")
    with to.open("wb") as file:
        file.write(opening)
        for i, record in enumerate(_records(journal)):
            file.write(b",\n" if i else b"\n")
            file.write(orjson.dumps(geojson.feature(record)))
        file.write(b"\n]}\n")


def _records(journal: Journal, source: str | None = None) -> Iterator[dict[str, Any]]:
    for rows in journal.tables(source):
        left_out = [
            name for name in ("embedding", "embedding_scale", "model", "error", "bbox") if name in rows.schema.names
        ]
        yield from geoparquet.records(rows.drop_columns(left_out))
