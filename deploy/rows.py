"""Answers as rows of one schema, read many at a time into parts."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from deploy import answers
from deploy.account import Account
from deploy.answers import Failure, Told
from deploy.errors import DeployError
from deploy.outputs import Answered, Output
from deploy.progress import Progress
from deploy.registry import ARCHIVE
from deploy.storage import Address, Stored
from service.formats import geoparquet
from service.model.artifact import MANIFEST
from service.model.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

AT_ONCE, AHEAD = 10, 32  # connections, which are what botocore keeps; answers in memory
IN_MEMORY = 8_000_000  # bytes of an answer
HEAD_OF_ARCHIVE = 4_000_000  # bytes of model.tar.gz; model.json comes first in it
VERSION = b"1"  #: of what a part holds


class Reader:
    """Reads answers into rows of one schema, that of the first one that has any."""

    def __init__(self, account: Account, first: Told) -> None:
        self._s3, self._sha256 = account.client("s3"), first.model.get("sha256", "")
        self._manifest = _manifest(account, first)
        self.schema = _schema(self._manifest, first)

    @classmethod
    def of(cls, account: Account, outputs: Sequence[Output], answered: Sequence[Sequence[Answered]]) -> Reader:
        """Looks for the first rows."""
        s3 = account.client("s3")
        for output, found in zip(outputs, answered, strict=True):
            for stored, source in found:
                with _opened(s3, stored) as file:
                    for told in answers.read(file, source, output.job):
                        if told.count:
                            return cls(account, told)
        where = ", ".join(str(output.prefix) for output in outputs)
        raise DeployError("no_answers", f"There is no answer with a prediction under {where}.")

    def part(self, folder: Path, job: str, some: Sequence[Answered], progress: Progress) -> Path:
        """The rows of some objects as a file, with what failed in one beside it; made unless it is there."""
        digest = hashlib.sha256(VERSION + job.encode() + self._sha256.encode() + self.schema.to_string().encode())
        for stored, source in some:
            digest.update(f"{stored.address} {stored.etag} {source}\n".encode())
        part = folder / f"{digest.hexdigest()[:32]}.parquet"
        if not part.exists():
            failures: list[Failure] = []
            with replacing(part) as unfinished, geoparquet.Writer(unfinished, self.schema) as rows:
                with ThreadPoolExecutor(AT_ONCE) as pool:
                    for tables, failed in _ahead(pool, lambda one: self._rows(job, *one), some):
                        for table in tables:
                            rows.append_table(table)
                        failures += failed
                        progress.advance(1)
                with replacing(failures_of(part)) as beside:
                    beside.write_bytes(b"".join(failure.line() for failure in failures))
        else:
            progress.advance(len(some))
        return part

    def _rows(self, job: str, stored: Stored, source: Address) -> tuple[list[pa.Table], list[Failure]]:
        tables, failures = [], []
        with _opened(self._s3, stored) as file:
            for told in answers.read(file, source, job):
                failures += told.failures
                if told.count:
                    tables.append(self._table(told, stored))
        return tables, failures

    def _table(self, told: Told, stored: Stored) -> pa.Table:
        if told.model.get("sha256", self._sha256) != self._sha256:
            detail = f"{stored.address} is of another model, {told.model['sha256']}, than the first answer"
            raise DeployError("other_model", f"{detail}: collect the answers of one model at a time.")
        if not _schema(self._manifest, told).equals(self.schema):
            detail = f"{stored.address} answers other options than the first answer"
            raise DeployError("other_options", f"{detail}: collect answers to the same options at a time.")
        if told.rows is not None:
            return told.rows.cast(self.schema)
        return geoparquet.table(told.records, told.model, self.schema)


def _schema(manifest: Manifest | None, told: Told) -> pa.Schema:
    """Of GeoParquet for such answers. Labels are the model's: an answer to top_k names only some of them."""
    if told.rows is not None:
        return told.rows.schema
    first = told.records[0]
    covers = manifest is not None and "probabilities" in first
    return geoparquet.schema(
        len(first["embedding"]) if "embedding" in first else None,
        [label.name for label in manifest.labels] if manifest and covers else (),
        [group.name for group in manifest.groups] if manifest and covers else (),
        "int8" if "embedding_scale" in first else "float32",
    )


def _manifest(account: Account, told: Told) -> Manifest | None:
    """Of the model that answered, from its archive; None for answers that name none. Raises DeployError no_model."""
    from botocore.exceptions import ClientError

    if "sha256" not in told.model:
        return None
    key = f"models/{told.model['sha256']}/{ARCHIVE}"
    try:
        head = account.client("s3").get_object(Bucket=account.bucket, Key=key, Range=f"bytes=0-{HEAD_OF_ARCHIVE - 1}")[
            "Body"
        ]
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        detail = f"The answers are of the model {told.model['sha256']}, but s3://{account.bucket}/{key} is not there"
        raise DeployError("no_model", f"{detail}: register the artifact with `python -m deploy endpoint`.") from None
    with tarfile.open(fileobj=io.BytesIO(head.read()), mode="r|gz") as archive:
        first = archive.next()
        content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
        if content is None:
            raise DeployError("bad_archive", f"s3://{account.bucket}/{key} does not begin with {MANIFEST}.")
        return Manifest.model_validate_json(content.read())


@contextmanager
def _opened(s3: Any, stored: Stored) -> Iterator[IO[bytes]]:
    """The content of an object, in memory if it is small."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        shutil.copyfileobj(s3.get_object(Bucket=stored.address.bucket, Key=stored.address.key)["Body"], file)
        file.seek(0)
        yield file


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; what stands there at the end takes the place of `path` in one step."""
    unfinished = path.with_name(f"{path.name}.new")
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def failures_of(part: Path) -> Path:
    """What failed among the objects of a part."""
    return part.with_suffix(".failures.jsonl")


def _ahead(pool: ThreadPoolExecutor, work: Callable[[Answered], Any], some: Iterable[Answered]) -> Iterator[Any]:
    """Results in order, of which only some wait in memory."""
    waiting: deque[Future[Any]] = deque()
    rest = iter(some)
    for one in islice(rest, AHEAD):
        waiting.append(pool.submit(work, one))
    while waiting:
        yield waiting.popleft().result()
        for one in islice(rest, 1):
            waiting.append(pool.submit(work, one))
