"""What is done so far, beside the file that is to be made, so that a run that was killed goes on where it was.

terms.json     what all rows have in common; a run on other terms is refused
NNNN.arrow     a stream of rows for each run, flushed batch by batch; what a kill cut off at its end is not read
done.jsonl     a line for each piece of a tile and for each tile, written after their rows, with the run and where its
               stream then ended: should a machine lose those rows and not the line, it does not count

Tiles that were refused for what the moment was like, such as S3 out of reach, are tried again by a run that goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.formats import geoparquet
from service.imagery.windows import Window
from service.offline.errors import OfflineError

if TYPE_CHECKING:
    import pyarrow as pa

TERMS, DONE = "terms.json", "done.jsonl"
OF_THE_MOMENT = {"decode_timeout", "decode_crashed", "source_unavailable"}  # memory may have been short, or time


class Journal:
    """Rows as they come, and which tiles and pieces of tiles they complete. One process at a time."""

    def __init__(self, folder: Path, terms: Mapping[str, Any], schema: pa.Schema) -> None:
        import pyarrow as pa

        self._folder, self._schema = folder, schema
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OfflineError(f"Another run is at work in {folder}; wait for it, or stop it.") from None
        self._agree(json.dumps(terms, sort_keys=True))
        self.refused: dict[str, dict[str, str]] = {}  #: by source: code and detail
        self.finished: dict[str, tuple[int, int]] = {}  #: by source: width and height, pixels
        self._pieces: set[tuple[str, Window]] = set()
        self._read()
        self.patches = Counter[str]()  #: rows by source
        self._written: dict[str, set[Window]] = {}  # of tiles that are not finished
        for batch in self._batches(["source", "window"]):
            for row in batch.to_pylist():
                self.patches[row["source"]] += 1
                if row["source"] not in self.finished:
                    self._written.setdefault(row["source"], set()).add(tuple(row["window"].values()))
        self._done = (folder / DONE).open("ab")
        self._run = len(list(folder.glob("*.arrow")))
        self._rows = (folder / f"{self._run:04d}.arrow").open("xb")
        self._stream = pa.ipc.new_stream(self._rows, schema)

    def _agree(self, terms: str) -> None:
        file = self._folder / TERMS
        if not file.exists():
            file.with_suffix(".new").write_text(terms)
            file.with_suffix(".new").replace(file)
        if file.read_text() != terms:
            detail = "was begun with another model, engine or other options: go on with those, or remove it."
            raise OfflineError(f"{self._folder} {detail}")

    def _read(self) -> None:
        if not (self._folder / DONE).exists():
            return
        lines = (self._folder / DONE).read_bytes().split(b"\n")
        if lines[-1]:  # cut off by a kill; the next line must not go on where it ends
            with (self._folder / DONE).open("r+b") as file:
                file.truncate(sum(len(line) + 1 for line in lines[:-1]))
        sizes = {int(file.stem): file.stat().st_size for file in self._folder.glob("*.arrow")}
        for line in map(json.loads, lines[:-1]):
            run, end = line.get("rows", (0, 0))
            if end > sizes.get(run, 0):
                continue
            if "piece" in line:
                self._pieces.add((line["source"], tuple(line["piece"])))
            elif "size" in line:
                self.finished[line["source"]] = tuple(line["size"])
            elif line["error"]["code"] not in OF_THE_MOMENT:
                self.refused[line["source"]] = line["error"]

    def is_over(self, source: str) -> bool:
        """True for a tile that is finished or refused."""
        return source in self.finished or source in self.refused

    def has(self, source: str, piece: Window) -> bool:
        """True for a piece of a tile of which every patch has its row."""
        return (source, piece) in self._pieces

    def written(self, source: str) -> set[Window]:
        """The windows of an unfinished tile that had their rows when this run began."""
        return self._written.get(source, set())

    def write(self, rows: pa.Table) -> None:
        """A batch, which outlives the process from here on."""
        self._stream.write_table(rows)
        self._rows.flush()
        self.patches.update(rows["source"].to_pylist())

    def finish_piece(self, source: str, piece: Window) -> None:
        """All its rows are written."""
        self._line({"source": source, "piece": piece, "rows": (self._run, self._rows.tell())})

    def finish(self, source: str, size: tuple[int, int]) -> None:
        """A tile of `size` pixels, all of whose pieces are finished."""
        self.finished[source] = size
        self._line({"source": source, "size": size, "rows": (self._run, self._rows.tell())})

    def refuse(self, source: str, code: str, detail: str) -> None:
        """A tile; what rows it has do not count."""
        if source not in self.refused:
            self.refused[source] = {"code": code, "detail": detail}
            self._line({"source": source, "error": self.refused[source]})

    def _line(self, said: Mapping[str, Any]) -> None:
        self._done.write(json.dumps(said).encode() + b"\n")
        self._done.flush()

    def tables(self, only: str | None = None) -> Iterator[pa.Table]:
        """All rows of finished tiles, or of one of them, batch by batch, in the order in which they were written.

        A tile that a run before began may not be among those of this one: it stays unfinished, and does not count.
        """
        import pyarrow as pa

        wanted = self.finished if only is None else {only}
        for batch in self._batches():
            rows = pa.Table.from_batches([batch])
            rows = rows.filter(pa.array([source in wanted for source in rows["source"].to_pylist()]))
            if len(rows):
                yield rows

    def _batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for file in sorted(self._folder.glob("*.arrow")):
            with file.open("rb") as opened:
                stream = None
                while True:
                    try:
                        stream = stream or pa.ipc.open_stream(opened)
                        batch = stream.read_next_batch()
                    except (StopIteration, pa.ArrowInvalid, OSError):  # its end, or where a kill cut it off
                        break
                    yield batch.select(columns) if columns else batch

    def close(self) -> None:
        """Leaves everything for the next run."""
        self._stream.close()
        for file in (self._rows, self._done, self._lock):
            file.close()

    def remove(self) -> None:
        """Once its rows are where they belong."""
        self.close()
        shutil.rmtree(self._folder)

    def join(self, to: Path) -> int:
        """One GeoParquet of all rows, there as a whole or not at all. Returns how many."""
        unfinished, count = to.with_name(to.name + ".unfinished"), 0
        with geoparquet.Writer(unfinished, self._schema) as writer:
            for rows in self.tables():
                writer.append_table(rows)
                count += len(rows)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())  # what it is made of is removed next
        unfinished.replace(to)
        return count
