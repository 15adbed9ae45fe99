"""The CPU engine: OpenVINO, without torch; float32, bfloat16, or int8 where the artifact brings its ranges."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from service.model.artifact import Artifact, Tensors
from service.model.engine import EngineError, Engines, Output
from service.model.openvino_graph import graph
from service.model.openvino_runtime import openvino

CPU_FLAGS = Path("/proc/cpuinfo")


class OpenVinoEngine:
    """See `service.model.engine.Engine`."""

    largest_batch = 4  # of one thread: larger ones gain nothing

    def __init__(
        self, artifact: Artifact, threads: int, *, bfloat16: bool = False, ranges: Tensors | None = None,
        apart: bool = False,
    ) -> None:  # fmt: skip
        """With `ranges`, the blocks' matrix products are int8, and what is between them float32 or bfloat16.

        With `apart` it has one of the threads, and `beside` makes those that have the others.
        Raises ArtifactError for a backbone that is no plain vision transformer, or that does not fit its name.
        """
        self._artifact = artifact
        settings = {
            **({"NUM_STREAMS": threads} if apart else {"PERFORMANCE_HINT": "LATENCY"}),
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # containers beside each other would pin to the same cores
        }
        kind = "float32" if not bfloat16 else "bfloat16"
        version = openvino.get_version().partition("-")[0]
        self.name = f"openvino {version} cpu {kind if ranges is None else f'int8 and {kind}'}"
        self._weight, self._bias = (artifact.head[part].astype(np.float32) for part in ("weight", "bias"))
        self._compiled = _Compiled(artifact, ranges, settings)
        self._plain: Any = self._compiled.plain.create_infer_request()
        self._with_tokens: Any = None
        side, bands = artifact.manifest.backbone.image_size, len(artifact.manifest.input.bands)
        self._plain.infer([np.zeros((1, side, side, bands), np.uint8)])  # what is left to compile takes 40 ms

    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """See `Engine.run`. The first run with tokens compiles a graph of its own for them."""
        if tokens and self._with_tokens is None:
            self._with_tokens = self._compiled.with_tokens.create_infer_request()
        found = (self._with_tokens if tokens else self._plain).infer([images])
        spec = self._artifact.manifest.backbone
        return Output(
            embeddings=found[0][:, -spec.dim :],
            logits=found[0] @ self._weight.T + self._bias,  # float32 whatever the backbone is
            tokens=found[1].reshape(-1, spec.grid, spec.grid, spec.dim) if tokens else None,
        )

    def beside(self) -> list[Self]:
        """This one and others that work at the same time, with the same weights: as many as OpenVINO has threads for.

        Where processors are two halves of a core, it may leave one half alone.
        """
        count = int(self._compiled.plain.get_property("NUM_STREAMS"))
        return [self, *(self._copy() for _ in range(count - 1))]

    def _copy(self) -> Self:
        other = copy(self)
        other._plain, other._with_tokens = self._compiled.plain.create_infer_request(), None
        return other


class _Compiled:
    """An artifact's graphs, whose weights and threads all engines beside each other share."""

    def __init__(self, artifact: Artifact, ranges: Tensors | None, settings: Mapping[str, Any]) -> None:
        self._artifact, self._ranges, self._settings = artifact, ranges, settings
        self._lock, self._with_tokens = Lock(), None
        self.plain = self._compile(tokens=False)

    @property
    def with_tokens(self) -> Any:
        """Compiled when it is first asked for, once."""
        with self._lock:
            if self._with_tokens is None:
                self._with_tokens = self._compile(tokens=True)
            return self._with_tokens

    def _compile(self, tokens: bool) -> Any:
        model = graph(self._artifact, tokens, self._ranges)
        return openvino.Core().compile_model(model, "CPU", self._settings)


def of_precision(artifact: Artifact, threads: int, precision: str) -> Engines:
    """An engine for each thread, and one for all, in fp32, bf16 or int8.

    A thread with a batch of its own waits for no other, at each of a hundred products, that something else on its
    processor holds up: 1.05 times as many images/s on two quiet cores as with all on one batch, 1.3 times on busy ones.
    Raises EngineError if the processor or the artifact does not allow it.
    """
    if precision == "bf16" and not has_bfloat16():
        raise EngineError("the engine openvino-bf16 needs a processor with AMX or AVX512_BF16; this one has neither")
    if precision == "int8" and artifact.ranges is None:
        raise EngineError(f"the engine openvino-int8 needs an artifact packaged with it; {artifact.path} is not")
    ranges = artifact.ranges if precision == "int8" else None
    bfloat16 = precision != "fp32" and has_bfloat16()
    together = OpenVinoEngine(artifact, threads, bfloat16=bfloat16, ranges=ranges)
    if threads == 1:
        return Engines((together,))
    each = OpenVinoEngine(artifact, threads, bfloat16=bfloat16, ranges=ranges, apart=True).beside()
    return Engines(tuple(each), together) if len(each) > 1 else Engines((together,))


def has_bfloat16() -> bool:
    """True if the processor multiplies bfloat16."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_int8() -> bool:
    """True if the processor sums products of bytes without overflow (VNNI or AMX), so that int8 is exact and fast."""
    flags = CPU_FLAGS.read_text() if CPU_FLAGS.exists() else ""
    return any(flag in flags for flag in ("avx512_vnni", "avx_vnni", "amx_int8"))
