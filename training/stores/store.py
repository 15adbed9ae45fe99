"""A store: patches as one memory-mapped array with an index, made once and read by all of training.

store.json      what the images are: shape, bands, ground size, stretch, labels, splits, source, licence
images.npy      uint8, N × H × W × C, stretched and clipped already
index.parquet   row i describes image i
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from io import BytesIO
from itertools import islice
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.files import replacing, write_json, write_text
from training.progress import Progress

VERSION = 1
SPLITS = ("train", "validation", "test")
CHECKPOINT_EVERY = 256  # files or images between two flushes to disk
ROWS_AT_ONCE = 8192  # lines held in memory while the index is written
_PROGRESS, _IMAGES, _INDEX, CARD = "progress.jsonl", "images.npy", "index.parquet", "store.json"


@dataclass(frozen=True)
class Row:
    """What is known of an image beside its pixels."""

    patch_id: str
    split: str | None = None  #: train, validation, test, or null
    labels: tuple[str, ...] = ()  #: all that are there for certain
    any_of: tuple[tuple[str, ...], ...] = ()  #: of each group at least one is there, unknown which
    country: str | None = None
    season: str | None = None
    acquisition_date: str | None = None  #: ISO 8601
    snow: bool | None = None
    cloud_or_shadow: bool | None = None
    geometry: bytes | None = None  #: WKB, WGS 84
    source: str | None = None


SCHEMA = pa.schema(
    [
        ("patch_id", pa.string()),
        ("split", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("any_of", pa.list_(pa.list_(pa.string()))),
        ("country", pa.string()),
        ("season", pa.string()),
        ("acquisition_date", pa.string()),
        ("snow", pa.bool_()),
        ("cloud_or_shadow", pa.bool_()),
        ("geometry", pa.binary()),
        ("source", pa.string()),
    ]
)


@dataclass(frozen=True)
class Card:
    """What a store holds, as its store.json says."""

    name: str
    image_shape: tuple[int, int, int]  #: H, W, C
    bands: tuple[str, ...]
    gsd_m: float
    stretch: dict[str, float]  #: {"divisor": DN that became 255}
    labels: tuple[str, ...]
    groups: tuple[dict[str, Any], ...] = ()
    source: str = ""
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class Entry:
    """One thing that a source names: its images, each with its row, or the reason why it could not be read."""

    name: str
    images: tuple[NDArray[np.uint8], ...] = ()  #: each H × W × C
    rows: tuple[Row, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Source:
    """Imagery that can become a store."""

    card: Card
    names: Sequence[str]  #: of what there is to read, in a fixed order
    read: Callable[[Sequence[str]], Iterable[Entry]]  #: entries for some of the names, lazily, in their order
    options: str = ""  #: all else that decides what is read; a store made with others is not continued


@dataclass(frozen=True)
class Store:
    """A finished store, opened for reading."""

    path: Path
    card: Card
    created: str

    @classmethod
    def open(cls, path: Path) -> Store:
        """Raises FileNotFoundError if there is no finished store of this version."""
        if not (path / CARD).exists():
            half = " (its preparation did not finish: run prepare again)" if (path / _PROGRESS).exists() else ""
            raise FileNotFoundError(f"{path} is no store{half}")
        saved = json.loads((path / CARD).read_text())
        if saved["version"] != VERSION:
            raise FileNotFoundError(f"{path} is a store of version {saved['version']}; this program reads {VERSION}")
        known = {f.name: saved[f.name] for f in fields(Card) if f.name in saved}
        known |= {name: tuple(saved[name]) for name in ("bands", "labels", "groups")}
        card = Card(**{**known, "image_shape": tuple(saved["shape"][1:])})
        return cls(path, card, saved["created"])

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """N × H × W × C, memory-mapped."""
        return np.load(self.path / _IMAGES, mmap_mode="r")  # type: ignore[no-any-return]  # numpy says Any

    @cached_property
    def rows(self) -> list[Row]:
        """Row i describes image i."""
        table = pq.read_table(self.path / _INDEX)
        return [_row(values) for values in table.to_pylist()]

    def of_split(self, *splits: str | None) -> NDArray[np.int64]:
        """Positions of the images of these splits, ascending."""
        return np.asarray([i for i, row in enumerate(self.rows) if row.split in splits], np.int64)


def _row(values: dict[str, Any]) -> Row:
    return Row(**{**values, "labels": tuple(values["labels"]), "any_of": tuple(map(tuple, values["any_of"]))})


def write(path: Path, source: Source) -> list[Entry]:
    """Writes a store and returns the entries that could not be read.

    Killed and called again, it goes on behind what was saved last, and ends as an unbroken run does. A
    finished store stays as it is. Raises ValueError if the folder holds something else.
    """
    fingerprint = _fingerprint(source)
    if (path / CARD).exists():
        saved = json.loads((path / CARD).read_text())
        if saved.get("fingerprint") != fingerprint:
            detail = "or one made with other options; choose another --out or remove it"
            raise ValueError(f"{path} holds another store ({saved['name']}) {detail}")
        return [Entry(**rejected) for rejected in saved["rejected"]]
    path.mkdir(parents=True, exist_ok=True)
    with _Half(path, source, fingerprint) as half:
        with Progress(f"prepare {source.card.name}", len(source.names), "files", half.done) as progress:
            for entry in source.read(source.names[half.done :]):
                half.add(entry)
                progress.advance(1, images=half.count)
        return half.finish()


def _fingerprint(source: Source) -> str:
    said = json.dumps([VERSION, asdict(source.card), list(source.names), source.options])
    return hashlib.sha256(said.encode()).hexdigest()


class _Half:
    """A store in the making: images are appended and flushed first, then the lines that tell of them."""

    def __init__(self, path: Path, source: Source, fingerprint: str) -> None:
        self._path, self._source, self._fingerprint = path, source, fingerprint
        self._header_size = len(_npy_header(0, source.card))
        self._lines_waiting: list[str] = []
        self._images_waiting = 0
        self.done = self.count = 0  #: names that need not be read again; images so far
        for line in self._saved_lines():
            self.done += 1
            self.count += len(line.get("rows", ()))

    def _saved_lines(self) -> Iterator[dict[str, Any]]:
        """What is known of each name so far; begins the file or mends its torn end."""
        file = self._path / _PROGRESS
        if not file.exists():
            write_text(file, json.dumps({"fingerprint": self._fingerprint}) + "\n")
        with file.open("r+b") as lines:
            if json.loads(lines.readline())["fingerprint"] != self._fingerprint:
                detail = "holds a half-made store of something else, or of other options"
                raise ValueError(f"{self._path} {detail}; choose another --out or remove it")
            whole = lines.tell()
            for line in lines:
                if not line.endswith(b"\n"):
                    lines.truncate(whole)
                    return
                whole += len(line)
                yield json.loads(line)

    def __enter__(self) -> _Half:
        images = self._path / _IMAGES
        images.touch()
        os.truncate(images, self._header_size + self.count * prod(self._source.card.image_shape))
        self._images_file, self._progress_file = images.open("ab"), (self._path / _PROGRESS).open("a")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._images_file.close()
        self._progress_file.close()

    def add(self, entry: Entry) -> None:
        for image in entry.images:
            if image.shape != self._source.card.image_shape or image.dtype != np.uint8:
                raise ValueError(
                    f"{entry.name}: image is {image.dtype} {image.shape}, not {self._source.card.image_shape}"
                )
            self._images_file.write(np.ascontiguousarray(image).data)
        line = {"name": entry.name, "reason": entry.reason} if entry.reason else {"rows": [vars(r) for r in entry.rows]}
        self._lines_waiting.append(json.dumps(line, default=bytes.hex) + "\n")
        self._images_waiting += len(entry.images)
        self.count += len(entry.images)
        if max(len(self._lines_waiting), self._images_waiting) >= CHECKPOINT_EVERY:
            self._flush()

    def _flush(self) -> None:
        _to_disk(self._images_file)
        self._progress_file.writelines(self._lines_waiting)
        _to_disk(self._progress_file)
        self._lines_waiting.clear()
        self._images_waiting = 0

    def finish(self) -> list[Entry]:
        self._flush()
        card, splits, rejected = self._source.card, Counter[str](), []
        with (self._path / _IMAGES).open("r+b") as images:
            images.write(_npy_header(self.count, card))
        with replacing(self._path / _INDEX) as unfinished, pq.ParquetWriter(unfinished, SCHEMA) as index:
            lines = self._saved_lines()
            while some := list(islice(lines, ROWS_AT_ONCE)):
                rows = [row for line in some for row in line.get("rows", ())]
                splits.update(str(row["split"]) for row in rows)
                rejected += [line for line in some if "reason" in line]
                for row in rows:
                    row["geometry"] = row["geometry"] and bytes.fromhex(row["geometry"])
                index.write_table(pa.Table.from_pylist(rows, SCHEMA))
        saved = {"version": VERSION, **asdict(card), "shape": [self.count, *card.image_shape], "dtype": "uint8"}
        saved |= {"splits": {str(s): splits[str(s)] for s in (*SPLITS, None)}, "rejected": rejected}
        saved |= {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "complete": True,
            "fingerprint": self._fingerprint,
        }
        del saved["image_shape"]
        write_json(self._path / CARD, saved)
        (self._path / _PROGRESS).unlink()
        return [Entry(**line) for line in rejected]


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _npy_header(count: int, card: Card) -> bytes:
    """The head of an .npy file of `count` images; numpy pads it so that its length does not depend on the count."""
    head = BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "|u1", "fortran_order": False, "shape": (count, *card.image_shape)}
    )
    return head.getvalue()
