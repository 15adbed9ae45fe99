"""What runs an artifact: a batch of resized patches in, embeddings, logits and token embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.model.artifact import Artifact


@dataclass(frozen=True)
class Output:
    """Float32, row i for patch i."""

    embeddings: NDArray[np.float32]  #: N × dim, normed cls token of the last block
    logits: NDArray[np.float32]  #: N × labels
    tokens: NDArray[np.float32] | None  #: N × rows × columns × dim, if asked for


class Engine(Protocol):
    """One model on one device. `run` is called by one thread at a time."""

    name: str  #: for /model and the log

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """`images` is N × image_size × image_size × C, stretched and resized as `service.imagery` does."""
        ...


def choose(artifact: Artifact, threads: int) -> Engine:
    """The engine for this machine. Raises ArtifactError if the weights do not fit it."""
    from service.model.torch_engine import TorchEngine  # torch takes seconds to import

    return TorchEngine(artifact, threads)
