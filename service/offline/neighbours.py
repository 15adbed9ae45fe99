"""The nearest neighbours of a patch in a GeoParquet, and what is told of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.formats import geojson, geoparquet
from service.imagery import outline
from service.offline.errors import OfflineError
from service.similarity import nearest

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("cosine", "id", "window", "longitude", "latitude", "label")
NOT_IN_GEOJSON = ("embedding", "embedding_scale", "bbox", "model", "error")


class Embeddings:
    """A GeoParquet with embeddings, of which what is needed is read. Raises OfflineError for any other file."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except pa.ArrowInvalid:
            raise OfflineError(f"{path} is no Parquet file.") from None
        schema = self._file.schema_arrow
        wanted = {"id", "source", "window", "geometry", "model", "embedding"}
        if missing := sorted(wanted - set(schema.names)):
            raise OfflineError(f"{path} has no column {', '.join(missing)}: name a file that `embed` wrote.")
        if not pa.types.is_fixed_size_list(schema.field("embedding").type):
            raise OfflineError(f"The embeddings of {path} differ in length: name a file that `embed` wrote.")

    def find(self, tile: str, window: Sequence[int] | None) -> int:
        """The row of a patch of a tile, by its id or its source. Raises OfflineError unless there is exactly one."""
        import pyarrow.compute as pc

        rows = self._file.read(["id", "source", "window"])
        is_it = pc.or_kleene(pc.equal(rows["id"], tile), pc.equal(rows["source"], tile))
        for name, number in zip(geoparquet.WINDOW, window or (), strict=False):
            is_it = pc.and_(is_it, pc.equal(pc.struct_field(rows["window"], name), number))
        (found,) = np.nonzero(is_it.fill_null(False).to_numpy())
        if len(found) == 1:
            return int(found[0])
        where = f" at {','.join(map(str, window))}" if window else ""
        if not len(found):
            raise OfflineError(f"{self._path} has no patch called {tile}{where}.")
        some = rows.take(found).to_pylist()
        if len(sources := dict.fromkeys(str(row["source"]) for row in some)) > 1:
            detail = f"by its source in place of its id, as --id {' or '.join([*sources][:3])}"
        else:
            windows = [",".join(map(str, row["window"].values())) for row in some[:3] if row["window"]]
            detail = f"with --window, as {' or '.join(windows)}"
        raise OfflineError(f"{len(found)} patches are called {tile}{where}: say which {detail}.")

    def nearest(self, of: Embeddings, row: int, k: int) -> pa.Table:
        """The rows of the k nearest of a row of `of`, nearest first, with their cosines; without itself.

        Raises OfflineError for the embeddings of different models or types, or if there is no other.
        """
        import pyarrow as pa

        query = of._rows([row])
        asked, _ = _embeddings(query["embedding"].combine_chunks())
        if not len(asked):
            raise OfflineError(f"The patch has no embedding: {of._path} says why in its column error.")
        if self._file.schema_arrow.field("embedding").type != query["embedding"].type:
            raise OfflineError(f"The embeddings of {self._path} and {of._path} differ in type: embed both in one way.")
        vectors, rows = self._vectors
        (found,) = nearest(vectors, asked, k + (of is self))
        is_other = (rows[found.indices] != row) | (of is not self)
        places, cosines = rows[found.indices][is_other][:k], found.cosines[is_other][:k]
        if not len(places):
            raise OfflineError(f"{self._path} holds no other patch.")
        neighbours = self._rows(places)
        if any(model != query["model"][0].as_py() for model in neighbours["model"].to_pylist()):
            raise OfflineError(f"{self._path} and {of._path} are of different models, which no cosine compares.")
        return neighbours.append_column("cosine", pa.array(cosines))

    @cached_property
    def _vectors(self) -> tuple[NDArray[Any], NDArray[np.intp]]:
        """N × D, and the rows that they are of: those of refused tiles have none."""
        kind, count = self._file.schema_arrow.field("embedding").type, self._file.metadata.num_rows
        vectors = np.empty((count, kind.list_size), geoparquet.dtype_of(kind))
        rows, seen, filled = np.empty(count, np.intp), 0, 0
        for batch in self._file.iter_batches(columns=["embedding"]):
            some, places = _embeddings(batch.column(0))
            here = slice(filled, filled + len(some))
            vectors[here], rows[here] = some, seen + places
            seen, filled = seen + len(batch), here.stop
        return vectors[:filled], rows[:filled]

    def _rows(self, places: Sequence[int] | NDArray[np.intp]) -> pa.Table:
        """These rows, in this order; only the row groups that hold them are read."""
        import pyarrow as pa

        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        starts = np.concatenate([[0], np.cumsum(counts)])
        groups = np.searchsorted(starts, places, side="right") - 1
        order = np.argsort(groups, kind="stable")
        parts = []
        for group in np.unique(groups):
            inside = np.asarray(places)[order][groups[order] == group] - starts[group]
            parts.append(self._file.read_row_group(int(group)).take(inside))
        return pa.concat_tables(parts).take(np.argsort(order))


def _embeddings(column: Any) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """N × D of those rows that have one, and which they are."""
    import pyarrow.compute as pc

    (there,) = np.nonzero(pc.list_element(column, 0).is_valid().to_numpy(zero_copy_only=False))
    numbers = column.take(there).flatten().to_numpy(zero_copy_only=False)
    return numbers.reshape(len(there), column.type.list_size), there


def cosine_table(rows: pa.Table) -> str:
    """A line for each neighbour, to be read in a terminal."""
    lines = [COLUMNS, *((f"{cosine:.6f}", *map(str, told)) for cosine, *told in _told(rows))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def write(rows: pa.Table, to: Path) -> None:
    """Neighbours as a file, by the end of its name: .csv as the table, .geojson and .parquet with all their fields."""
    if to.suffix == ".parquet":
        with geoparquet.Writer(to, rows.schema) as writer:
            writer.append_table(rows)
    elif to.suffix == ".geojson":
        import orjson

        left_out = [name for name in NOT_IN_GEOJSON if name in rows.column_names]
        collection = geojson.collection(geoparquet.records(rows.drop_columns(left_out)), rows["model"][0].as_py())
        to.write_bytes(orjson.dumps(collection))
    else:
        with to.open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *_told(rows)])


def _told(rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The values of COLUMNS."""
    for record in geoparquet.records(rows):
        longitude, latitude = _middle(record["footprint"])
        label = next(iter(record.get("labels") or ()), "")
        yield record["cosine"], record["id"], ",".join(map(str, record["window"])), longitude, latitude, label


def _middle(footprint: dict[str, Any] | None) -> tuple[float | str, float | str]:
    """Longitude and latitude; of its first part where the antimeridian cuts it in two."""
    if footprint is None:
        return "", ""
    ring = np.array(outline.polygons(footprint)[0][0])
    longitude, latitude = ((ring.min(axis=0) + ring.max(axis=0)) / 2).round(5).tolist()
    return longitude, latitude
