"""npy: the embeddings and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.answers.answer import Answer
from service.answers.records import compand
from service.errors import ServiceError
from service.featurizer import Prediction, Refusal, TileResult
from service.model.artifact import Artifact
from service.options import Options

NPY = "application/x-npy"


def to_npy(results: Sequence[TileResult], _artifact: Artifact, options: Options) -> Answer:
    """One array, a row for each prediction in order: embeddings N × dim, or token embeddings N × rows × columns × dim.

    An array has no place for an error, so a refused tile fails the request, with BATCH_ERRORS=record, too. The scale
    of int8 is a parameter of the media type, since SageMaker passes no other header.
    """
    predictions: list[Prediction] = []
    for result in results:
        if isinstance(result, Refusal):
            raise result.error
        predictions += result
    if "picture" in options.outputs:
        raise ServiceError("bad_option", "npy holds numbers: ask for pictures as JSON.")
    if "token_embeddings" in options.outputs:
        if "embedding" in options.outputs:
            detail = "npy holds one array: ask for outputs=embedding or for outputs=token_embeddings."
            raise ServiceError("bad_option", detail)
        array = np.stack([prediction.tokens for prediction in predictions if prediction.tokens is not None])
    elif "embedding" in options.outputs:
        array = np.stack([prediction.embedding for prediction in predictions])
    else:
        raise ServiceError("bad_option", "npy holds embeddings: ask for outputs=embedding.")
    if options.embedding_dtype == "int8":
        codes, scale = compand(array)
        return Answer(_npy(codes), f"{NPY}; embedding_scale={scale!r}")
    return Answer(_npy(array.astype(options.embedding_dtype)), NPY)


def _npy(array: NDArray[Any]) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()
