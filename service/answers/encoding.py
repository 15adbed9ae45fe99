"""Predictions to bytes, beside the event loop where they take long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from service.answers.answer import Answer, MediaType
from service.answers.negotiation import ENCODERS
from service.featurizer import Refusal, TileResult
from service.model.artifact import Artifact
from service.options import Options

QUICK: frozenset[MediaType] = frozenset({"application/json", "application/jsonlines", "application/x-npy"})
SLOW_OUTPUTS = {"token_embeddings", "picture"}
FEW = 4  # records, of 0.04 ms each; the way to a thread and back takes 0.1


async def encode(media_type: MediaType, results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """See `ENCODERS`. In a thread, unless it is done before a thread would have begun."""
    if media_type in QUICK and not SLOW_OUTPUTS & set(options.outputs) and _records(results) <= FEW:
        return ENCODERS[media_type](results, artifact, options)
    return await asyncio.to_thread(ENCODERS[media_type], results, artifact, options)


def _records(results: Sequence[TileResult]) -> int:
    return sum(1 if isinstance(result, Refusal) else len(result) for result in results)
