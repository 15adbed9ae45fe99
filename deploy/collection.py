"""Answers of transforms as one GeoParquet, a part at a time: what was collected before a kill is not read again.

A part holds the rows of some objects. Its name follows from what it was made of, so that new answers make new parts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.account import Account
from deploy.answers import Failure
from deploy.outputs import Answered, Output
from deploy.progress import Progress
from deploy.rows import Reader, failures_of, replacing
from service.formats import geoparquet

if TYPE_CHECKING:
    import pyarrow as pa

OBJECTS_A_PART = 200


@dataclass(frozen=True)
class Collection:
    """What was collected."""

    rows: int
    failures: list[Failure]


def collect(account: Account, outputs: Sequence[Output], to: Path) -> Collection:
    """Writes the answers of all outputs to one file, replaced in one step, and tells what failed.

    Where several have the same input, that of the last one counts. Raises DeployError no_answers, other_model,
    other_options.
    """
    answered, missing, sources = [], [], []
    for output in outputs:
        inputs = output.inputs(account)
        found = list(output.answered(account, inputs))
        there = {source for _, source in found}
        answered.append(found)
        missing.append(output.without(account, [source for source in inputs.values() if source not in there]))
        sources.append({str(source) for source in (*inputs.values(), *there)})
    reader = Reader.of(account, outputs, answered)
    folder = to.with_name(f"{to.name}.parts")
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    progress = Progress("collect", sum(map(len, answered)), "answers")
    for output, found in zip(outputs, answered, strict=True):
        parts.append([reader.part(folder, output.job, some, progress) for some in _batches(found)])
    collection = _merge(parts, missing, sources, reader.schema, to)
    shutil.rmtree(folder)
    return collection


def _batches(found: Sequence[Answered]) -> Iterator[Sequence[Answered]]:
    for start in range(0, len(found), OBJECTS_A_PART):
        yield found[start : start + OBJECTS_A_PART]


def _merge(
    parts: Sequence[Sequence[Path]],
    missing: Sequence[Sequence[Failure]],
    inputs: Sequence[set[str]],
    schema: pa.Schema,
    to: Path,
) -> Collection:
    """One file of all parts, without what a later output has, too; and its failures beside it."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    count, failures = 0, []
    with replacing(to) as unfinished, geoparquet.Writer(unfinished, schema) as rows:
        for i, own in enumerate(parts):
            later = set().union(*inputs[i + 1 :], *(_sources(part) for other in parts[i + 1 :] for part in other))
            failed = [*missing[i], *(Failure.of_line(line) for part in own for line in _lines(part))]
            failures += [failure for failure in failed if failure.source not in later]
            for part in own:
                for batch in pq.ParquetFile(part).iter_batches():
                    some = pa.Table.from_batches([batch]).cast(schema)
                    if later:
                        some = some.filter(pc.invert(pc.is_in(some["source"], value_set=pa.array(sorted(later)))))
                    rows.append_table(some)
                    count += len(some)
    beside = to.with_suffix(".failures.jsonl")
    if failures:
        with replacing(beside) as unfinished:
            unfinished.write_bytes(b"".join(failure.line() for failure in failures))
    else:
        beside.unlink(missing_ok=True)
    return Collection(count, failures)


def _lines(part: Path) -> list[bytes]:
    return failures_of(part).read_bytes().splitlines()


def _sources(part: Path) -> set[str]:
    """All inputs of which a part holds an answer or a failure."""
    import pyarrow.parquet as pq

    told = set(pq.read_table(part, columns=["source"])["source"].unique().to_pylist())
    return told | {Failure.of_line(line).source for line in _lines(part)}
