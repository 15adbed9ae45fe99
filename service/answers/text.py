"""JSON, and JSON Lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from service.answers import records
from service.answers.answer import Answer
from service.featurizer import TileResult
from service.model.artifact import Artifact
from service.options import Options

AT_ONCE = 32  # records; while orjson writes, every thread waits, health checks too: 140 ms for a scene with its tokens


def to_json(results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """The model, and a prediction for each patch; float32 in the fewest digits that read back the same."""
    predictions = [record for result in results for record in records.of_tile(result, artifact, options)]
    return Answer(_with({"model": records.of_model(artifact)}, predictions), "application/json")


def to_json_lines(results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """A line for each tile, in order: its id, and what JSON would have answered for that tile alone.

    So a line of a JSON Lines request has exactly one line in its answer, be it a scene of many windows or refused,
    as batch transform with JoinSource=Input needs it.
    """
    model = records.of_model(artifact)
    lines = []
    for result in results:
        predictions = records.of_tile(result, artifact, options)
        lines.append(_with({"id": predictions[0]["id"], "model": model}, predictions) + b"\n")
    return Answer(b"".join(lines), "application/jsonlines")


def _with(head: dict[str, Any], predictions: list[dict[str, Any]]) -> bytes:
    """An object of what `head` holds, and the predictions."""
    some = (predictions[i : i + AT_ONCE] for i in range(0, len(predictions), AT_ONCE))
    listed = b",".join(_dumped(part)[1:-1] for part in some)
    return b"".join((_dumped(head)[:-1], b',"predictions":[', listed, b"]}"))


def _dumped(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
