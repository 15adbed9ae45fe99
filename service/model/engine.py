"""What runs an artifact: a batch of resized patches in, embeddings, logits and token embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.model.artifact import Artifact
from service.model.plain_transformer import is_plain

#: torch: in bfloat16 on GPUs that multiply it, else in float32
Choice = Literal["auto", "torch", "torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16", "openvino-int8"]
NVIDIA = Path("/dev/nvidiactl")  # there wherever the driver is, also in containers that were given a GPU


class EngineError(ValueError):
    """No engine can run the artifact here, or not the one that was asked for; the message is one line."""


@dataclass(frozen=True)
class Output:
    """Float32, row i for patch i."""

    embeddings: NDArray[np.float32]  #: N × dim, normed cls token of the last block
    logits: NDArray[np.float32]  #: N × labels
    tokens: NDArray[np.float32] | None  #: N × rows × columns × dim, if asked for


class Engine(Protocol):
    """One model on one device. `run` is called by one thread at a time."""

    name: str  #: for /model and the log
    largest_batch: int  #: patches; a larger one would gain nothing, and keep others waiting

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """`images` is N × image_size × image_size × C, stretched and resized as `service.imagery` does."""
        ...


@dataclass(frozen=True)
class Engines:
    """All that run one model on a machine: the same numbers, whichever of them a patch goes through."""

    each: tuple[Engine, ...]  #: at work at the same time, on processors of their own
    together: Engine | None = None  #: on the processors of all: sooner for who is alone, but slower where many wait

    @property
    def name(self) -> str:
        """For /model and the log."""
        count = f"{len(self.each)} × " if len(self.each) > 1 else ""
        return count + self.each[0].name


def choose(artifact: Artifact, threads: int, asked: Choice = "auto") -> Engines:
    """Engines for this machine, or those that were asked for: torch for each GPU, else OpenVINO for each processor.

    Raises ArtifactError if the weights do not fit, EngineError if they cannot be had here.
    """
    chosen = best(artifact) if asked == "auto" else asked
    needed, _, precision = chosen.partition("-")
    if not _is_installed(needed):
        why = "" if is_plain(artifact.manifest.backbone) else f"; only torch runs {artifact.manifest.backbone.timm}"
        raise EngineError(f"the engine {chosen} needs {needed}, which is not installed{why}")
    if needed == "torch":
        import torch  # takes seconds

        from service.model.torch_engine import TorchEngine

        bfloat16 = precision == "bf16" if precision else None
        devices = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else ["cpu"]
        return Engines(tuple(TorchEngine(artifact, threads, device, bfloat16=bfloat16) for device in devices))
    from service.model import openvino_engine

    return openvino_engine.of_precision(artifact, threads, precision)


def best(artifact: Artifact) -> Choice:
    """torch for a GPU or what is no plain transformer, else OpenVINO with the fastest that CPU and artifact allow."""
    if _has_cuda() or not _is_installed("openvino") or not is_plain(artifact.manifest.backbone):
        return "torch"
    from service.model import openvino_engine

    if artifact.ranges is not None and openvino_engine.has_int8():
        return "openvino-int8"
    return "openvino-bf16" if openvino_engine.has_bfloat16() else "openvino-fp32"


def _is_installed(name: str) -> bool:
    return find_spec(name) is not None


def _has_cuda() -> bool:
    if not (NVIDIA.exists() and _is_installed("torch")):
        return False  # without the seconds that the import of torch takes
    import torch

    return torch.cuda.is_available()
