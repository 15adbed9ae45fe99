"""What batch transform wrote: `.out` objects of any kind that the service answers, as records of the JSON answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from deploy.storage import Address

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET, NPY = b"PAR1", b"\x93NUMPY"
JOINED = "SageMakerOutput"  #: under which JoinSource=Input puts the answer beside the fields of the input line


@dataclass(frozen=True)
class Failure:
    """An input without an answer."""

    source: str  #: the object's address
    id: str
    code: str
    detail: str
    job: str = ""
    instance: Mapping[str, Any] | None = None  #: its line of a manifest

    def line(self) -> bytes:
        """Of failures.jsonl."""
        said = {key: value for key, value in vars(self).items() if value not in (None, "")}
        return json.dumps(said, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> Failure:
        """The other way."""
        return cls(**json.loads(line))


@dataclass(frozen=True)
class Told:
    """Some of what one answer says: records of patches, or rows of GeoParquet, by the model that gave them."""

    model: Mapping[str, str]
    records: list[dict[str, Any]]
    failures: list[Failure]
    rows: pa.Table | None = None  #: in place of records

    @property
    def count(self) -> int:
        """Patches."""
        return len(self.records) if self.rows is None else len(self.rows)


def read(file: IO[bytes], source: Address, job: str) -> Iterator[Told]:
    """What one `.out` says, of which `source` is the input. What cannot be read is a failure of its own.

    A GeoTIFF alone has no name in its request, so its records get that of their object.
    """
    head = file.read(len(NPY))
    file.seek(0)
    try:
        if head.startswith(PARQUET):
            yield _of_parquet(file, source, job)
        elif head == NPY:
            yield _of_npy(file, source)
        else:
            for line in file:
                yield _of_json(json.loads(line), source, job)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        detail = f"The answer is none that can be collected ({type(error).__name__}): ask for JSON, npy or GeoParquet."
        yield Told({}, [], [Failure(str(source), stem(source.key), "unreadable", detail, job)])


def stem(key: str) -> str:
    """What an object without an id is called."""
    return PurePosixPath(key).stem


def _of_json(said: Mapping[str, Any], source: Address, job: str) -> Told:
    """A JSON answer, or a line of an answer, or an input line with its answer in it."""
    if JOINED not in said:
        return _told(said, str(source), stem(source.key), job, None)
    instance = {key: value for key, value in said.items() if key != JOINED}
    uri = instance.get("s3_uri") or next(iter(instance["bands"].values()))
    return _told(said[JOINED], uri, None, job, instance)


def _told(answer: Mapping[str, Any], source: str, name: str | None, job: str, instance: Any) -> Told:
    served, failures = [], []
    for record in answer["predictions"]:
        own = name or record["id"]
        if error := record.get("error"):
            failures.append(Failure(source, own, error["code"], error["detail"], job, instance))
        else:
            served.append(record | {"id": own, "source": source})
    return Told(answer["model"], served, failures)


def _of_parquet(file: IO[bytes], source: Address, job: str) -> Told:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows, name = pq.read_table(file), stem(source.key)
    for column, value in (("id", name), ("source", str(source))):
        place = rows.schema.get_field_index(column)
        rows = rows.set_column(place, rows.schema.field(place), pa.array([value] * len(rows), pa.string()))
    refused = rows.filter(pc.is_valid(rows["error"]))["error"].to_pylist()
    failures = [Failure(str(source), name, error["code"], error["detail"], job) for error in refused]
    return Told(rows["model"][0].as_py() if len(rows) else {}, [], failures, rows.filter(pc.is_null(rows["error"])))


def _of_npy(file: IO[bytes], source: Address) -> Told:
    """Embeddings alone; which model gave them is not said."""
    import numpy as np

    array = np.load(file, allow_pickle=False)
    name = stem(source.key)
    return Told({}, [{"id": name, "source": str(source), "embedding": row} for row in array], [])
