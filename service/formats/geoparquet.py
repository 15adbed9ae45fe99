"""Predictions as GeoParquet 1.1: the records of JSON answers, a row each.

    id               the tile's; windows of a scene share it
    source           where the tile lay, if it is known (an S3 URI)
    geometry, bbox   footprint: WKB in longitude/latitude (OGC:CRS84), a polygon, or two at the antimeridian; else null
    window           column, row, width, height in the tile, pixels
    crs              of the tile: "EPSG:32633", or WKT
    transform        of the window: x = a·column + b·row + c, y = d·column + e·row + f, as a, b, c, d, e, f
    valid_fraction   share of pixels with data
    embedding        fixed-size list, of nulls where there is none
    embedding_scale  of int8: value = sign(code)·(code/127)²·scale
    probabilities    struct by label; null where the model cannot tell, or was not asked to (top_k)
    groups, labels   struct by group; names over their thresholds
    radiometry, warnings, model    as in JSON
    error            code and detail in place of all else, null where the tile was served

Labels are names, never positions: readers skip what they do not ask for. Needs pyarrow, imported where it is used.
Metadata: https://geoparquet.org/releases/v1.1.0/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np

from service.imagery import outline

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW = ("column", "row", "width", "height")
BOX = ("xmin", "ymin", "xmax", "ymax")
ROW_GROUP = 8192  # rows; 12 MB of embeddings of 384 numbers
GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"],
            "orientation": "counterclockwise",
            "covering": {"bbox": {corner: ["bbox", corner] for corner in BOX}},
        }
    },
}


def schema(dim: int | None, labels: Sequence[str], groups: Sequence[str], dtype: str = "float32") -> pa.Schema:
    """Columns for embeddings of `dim` numbers of `dtype` (float32, float16, int8) and for these labels and groups.

    Without `dim` there is no column for the embedding, without labels none for land cover.
    """
    import pyarrow as pa

    columns = {
        "source": pa.string(),
        "geometry": pa.binary(),
        "bbox": pa.struct([(corner, pa.float64()) for corner in BOX]),
        "window": pa.struct([(name, pa.int32()) for name in WINDOW]),
        "crs": pa.string(),
        "transform": pa.list_(pa.float64()),
        "valid_fraction": pa.float64(),
    }
    if dim is not None:
        columns["embedding"] = pa.list_({"float16": pa.float16(), "int8": pa.int8()}.get(dtype, pa.float32()), dim)
        if dtype == "int8":
            columns["embedding_scale"] = pa.float64()
    if labels:
        columns["probabilities"] = pa.struct([(label, pa.float64()) for label in labels])
        columns["labels"] = pa.list_(pa.string())
    if groups:
        columns["groups"] = pa.struct([(group, pa.float64()) for group in groups])
    texts = {name: pa.string() for name in ("name", "version", "sha256", "code", "detail", "message")}
    columns |= {
        "radiometry": pa.struct(
            {"divisor": pa.float64(), "boa_offset": pa.int32(), "scale": pa.float64(), "bands": pa.list_(pa.string())}
        ),
        "warnings": pa.list_(pa.struct({name: texts[name] for name in ("code", "message")})),
        "model": pa.struct({name: texts[name] for name in ("name", "version", "sha256")}),
        "error": pa.struct({name: texts[name] for name in ("code", "detail")}),
    }
    fields = [pa.field("id", pa.string(), nullable=False), *(pa.field(*column) for column in columns.items())]
    return pa.schema(fields, metadata={"geo": json.dumps(GEO)})


def table(records: Sequence[Mapping[str, Any]], model: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    """`predictions` of a JSON answer as rows, in order; `model` is the answer's.

    What a record does not have is null, what the schema does not have is left out.
    """
    import pyarrow as pa

    rows = [_row(record, model) for record in records]
    columns = [
        _vectors(rows, column.type) if column.name == "embedding" else _values(rows, column) for column in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def records(rows: pa.Table) -> Iterator[dict[str, Any]]:
    """The records that `table` made rows of, with the columns that are there: window and footprint as in JSON."""
    for row in rows.to_pylist():
        window, geometry = row.pop("window"), row.pop("geometry")
        yield {
            **row,
            "window": window and list(window.values()),
            "footprint": geometry and outline.of_well_known_binary(geometry),
        }


class Writer:
    """Writes records to a file as they come, in row groups of a size that readers like. Use it in a `with`."""

    def __init__(self, file: BinaryIO | Path, schema: pa.Schema) -> None:
        import pyarrow.parquet as pq

        self._schema = schema
        self._file = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[pa.Table] = []

    def append(self, records: Sequence[Mapping[str, Any]], model: Mapping[str, str]) -> None:
        """See `table`."""
        self.append_table(table(records, model, self._schema))

    def append_table(self, rows: pa.Table) -> None:
        """Rows of the same schema."""
        self._waiting.append(rows)
        if sum(len(waiting) for waiting in self._waiting) >= ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting), ROW_GROUP)
        self._waiting = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            self._flush()
        self._file.close()


def _row(record: Mapping[str, Any], model: Mapping[str, str]) -> dict[str, Any]:
    footprint = record.get("footprint")
    window = record.get("window")
    return {
        **record,
        "geometry": footprint and outline.well_known_binary(footprint),
        "bbox": footprint and dict(zip(BOX, _bounds(footprint), strict=True)),
        "window": window and dict(zip(WINDOW, window, strict=True)),
        "model": model,
    }


def _values(rows: Sequence[Mapping[str, Any]], column: pa.Field) -> pa.Array:
    import pyarrow as pa

    return pa.array([row.get(column.name) for row in rows], column.type)


def _vectors(rows: Sequence[Mapping[str, Any]], kind: pa.FixedSizeListType) -> pa.Array:
    """Rows of `kind.list_size` numbers, or of as many nulls.

    A row that is null as a whole could not be read back by Arrow before 2026, nor by what is built on it
    (apache/arrow#35692).
    """
    import pyarrow as pa

    embeddings = [row.get("embedding") for row in rows]
    numbers = {pa.float16(): np.float16, pa.int8(): np.int8}  # pyarrow would ask pandas, which is not there
    values = np.zeros((len(rows), kind.list_size), numbers.get(kind.value_type, np.float32))
    for value, embedding in zip(values, embeddings, strict=True):
        if embedding is not None:
            value[:] = embedding
    missing = np.repeat([embedding is None for embedding in embeddings], kind.list_size)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), mask=missing), type=kind)


def _bounds(footprint: dict[str, Any]) -> tuple[float, float, float, float]:
    points = [point for rings in outline.polygons(footprint) for point in rings[0]]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
