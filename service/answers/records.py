"""What is said of a patch: the record that JSON, JSON Lines and GeoParquet have in common."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.answers.pictures import to_png
from service.featurizer import Prediction, Refusal, TileResult
from service.model import land_cover
from service.model.artifact import Artifact
from service.options import Options


def of_model(artifact: Artifact) -> dict[str, str]:
    """Which model answered."""
    return {"name": artifact.manifest.name, "version": artifact.manifest.version, "sha256": artifact.sha256}


def of_tile(result: TileResult, artifact: Artifact, options: Options) -> list[dict[str, Any]]:
    """A record for each patch of a tile, or the one that says why it was refused. Embeddings are arrays."""
    if isinstance(result, Refusal):
        error = {"code": result.error.code, "detail": result.error.detail, **result.error.more}
        return [{"id": result.id, "error": error}]
    return [_of_patch(prediction, artifact, options) for prediction in result]


def _of_patch(prediction: Prediction, artifact: Artifact, options: Options) -> dict[str, Any]:
    facts, manifest = prediction.facts, artifact.manifest
    said: dict[str, Any] = {"id": prediction.id, "window": facts.window}
    if "embedding" in options.outputs:
        said |= _embedding(prediction.embedding, options.embedding_dtype)
    if prediction.tokens is not None:
        rows, columns, dim = prediction.tokens.shape
        content = base64.b64encode(prediction.tokens.astype("<f2").tobytes()).decode()
        said["token_embeddings"] = {"shape": [rows, columns, dim], "dtype": "float16", "base64": content}
    if prediction.pixels is not None:
        said["picture"] = to_png(prediction.pixels, manifest.input.bands)
    if "probabilities" in options.outputs:
        cover = land_cover.read(prediction.logits, manifest.labels, manifest.groups, options.threshold)
        likeliest = _likeliest(cover.probabilities, options.top_k)
        said |= {"probabilities": likeliest, "groups": cover.groups, "labels": cover.labels}
    said |= {
        "valid_fraction": facts.valid_fraction,
        "crs": facts.crs,
        "transform": facts.transform,
        "footprint": facts.footprint,
        "radiometry": vars(facts.radiometry),
        "warnings": [vars(warning) for warning in facts.warnings],
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
