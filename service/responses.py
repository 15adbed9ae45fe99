"""Predictions to answers: the JSON of the contract, and npy."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.errors import ServiceError
from service.featurizer import Prediction, Refusal
from service.model import land_cover
from service.model.artifact import Artifact
from service.options import Options

JSON, NPY = "application/json", "application/x-npy"


@dataclass(frozen=True)
class Answer:
    """A body with its media type."""

    body: bytes
    media_type: str


def negotiate(accept: str | None) -> str:
    """The media type to answer with, from an Accept header. Raises ServiceError not_acceptable."""
    wanted = []
    for part in (accept or "*/*").split(","):
        media_type, _, parameters = part.strip().partition(";")
        quality = next((p.strip()[2:] for p in parameters.split(";") if p.strip().startswith("q=")), "1")
        wanted.append((-_number(quality), media_type.strip().lower()))
    for refused, media_type in sorted(wanted, key=lambda one: one[0]):
        if refused == 0:
            continue
        if media_type in ENCODERS:
            return media_type
        if media_type in ("*/*", "application/*"):
            return JSON
    raise ServiceError("not_acceptable", f"Accept must be one of {', '.join(ENCODERS)}.")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 1.0


def to_json(results: Sequence[Prediction | Refusal], artifact: Artifact, options: Options) -> Answer:
    """The answer as JSON; float32 in the fewest digits that read back the same."""
    manifest = artifact.manifest
    model = {"name": manifest.name, "version": manifest.version, "sha256": artifact.sha256}
    predictions = [
        {"id": result.id, "error": {"code": result.error.code, "detail": result.error.detail, **result.error.more}}
        if isinstance(result, Refusal)
        else _prediction(result, artifact, options)
        for result in results
    ]
    return Answer(orjson.dumps({"model": model, "predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY), JSON)


def _prediction(prediction: Prediction, artifact: Artifact, options: Options) -> dict[str, Any]:
    facts, manifest = prediction.facts, artifact.manifest
    said: dict[str, Any] = {"id": prediction.id, "window": facts.window}
    if "embedding" in options.outputs:
        said |= _embedding(prediction.embedding, options.embedding_dtype)
    if prediction.tokens is not None:
        rows, columns, dim = prediction.tokens.shape
        content = base64.b64encode(prediction.tokens.astype("<f2").tobytes()).decode()
        said["token_embeddings"] = {"shape": [rows, columns, dim], "dtype": "float16", "base64": content}
    if "probabilities" in options.outputs:
        cover = land_cover.read(prediction.logits, manifest.labels, manifest.groups, options.threshold)
        likeliest = _likeliest(cover.probabilities, options.top_k)
        said |= {"probabilities": likeliest, "groups": cover.groups, "labels": cover.labels}
    said |= {
        "valid_fraction": facts.valid_fraction,
        "crs": facts.crs,
        "footprint": facts.footprint,
        "radiometry": asdict(facts.radiometry),
        "warnings": [asdict(warning) for warning in facts.warnings],
    }
    return said


def _embedding(embedding: NDArray[np.float32], dtype: str) -> dict[str, Any]:
    if dtype == "int8":
        codes, scale = compand(embedding)
        return {"embedding": codes, "embedding_scale": scale}
    return {"embedding": embedding if dtype == "float32" else embedding.astype(np.float16).astype(np.float32)}


def compand(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.int8], float]:
    """int8 codes sign(x)·√(|x|/s)·127 and the scale s; back: sign(code)·(code/127)²·s.

    The root gives small values, of which there are many, more of the codes.
    """
    scale = float(np.abs(embeddings).max()) or 1.0
    return np.rint(np.sign(embeddings) * np.sqrt(np.abs(embeddings) / scale) * 127).astype(np.int8), scale


def _likeliest(probabilities: dict[str, float | None], top_k: int | None) -> dict[str, float | None]:
    if top_k is None:
        return probabilities
    told = {name: p for name, p in probabilities.items() if p is not None}
    return {name: told[name] for name in sorted(told, key=lambda name: -told[name])[:top_k]}


def to_npy(results: Sequence[Prediction | Refusal], _artifact: Artifact, options: Options) -> Answer:
    """One array, a row for each prediction in order: embeddings N × dim, or token embeddings N × rows × columns × dim.

    An array has no place for an error, so a refused tile fails the request. The scale of int8 is a
    parameter of the media type, since SageMaker passes no other header.
    """
    predictions = [result for result in results if isinstance(result, Prediction)]
    for result in results:
        if isinstance(result, Refusal):
            raise result.error
    if "token_embeddings" in options.outputs:
        if "embedding" in options.outputs:
            detail = "npy holds one array: ask for outputs=embedding or for outputs=token_embeddings."
            raise ServiceError("bad_option", detail)
        array = np.stack([prediction.tokens for prediction in predictions if prediction.tokens is not None])
    elif "embedding" in options.outputs:
        array = np.stack([prediction.embedding for prediction in predictions])
    else:
        raise ServiceError("bad_option", "npy holds embeddings: ask for outputs=embedding.")
    media_type = NPY
    if options.embedding_dtype == "int8":
        codes, scale = compand(array)
        return Answer(_npy(codes), f"{NPY}; embedding_scale={scale!r}")
    return Answer(_npy(array.astype(options.embedding_dtype)), media_type)


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


ENCODERS: dict[str, Callable[[Sequence[Prediction | Refusal], Artifact, Options], Answer]] = {
    JSON: to_json,
    NPY: to_npy,
}
