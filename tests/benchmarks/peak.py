"""What a processor does at its best: products a second of one large matrix, by the library that the engine uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from service.model.manifest import BackboneSpec
from service.model.openvino_graph import quantised, small_matrix
from service.model.openvino_runtime import openvino, ops
from service.model.plain_transformer import depth_of

ROWS, SIDE = 512, 1024  # bytes of which fit into the cache of one core
PRODUCTS = 8  # one after another, so that little is spent on what comes before and after them
LIMITS = (-4.0, 4.0)  # of numbers whose standard deviation is 1
SECONDS = 0.25


def products_of(spec: BackboneSpec) -> float:
    """Multiplications for one image, where the last block answers for the cls token alone."""
    tokens, dim, depth = 1 + spec.grid**2, spec.dim, depth_of(spec)
    embedding = spec.grid**2 * 3 * spec.patch_size**2 * dim
    block = tokens * 12 * dim**2 + 2 * tokens**2 * dim
    last = tokens * 2 * dim**2 + 10 * dim**2 + 2 * tokens * dim
    return embedding + (depth - 1) * block + last


def of_processor(precision: str, threads: int) -> Callable[[], float]:
    """Products a second, measured for a quarter of a second at each call; `precision` is int8, bf16 or f32."""
    x = y = ops.parameter([ROWS, SIDE], np.float32)
    weight = np.random.default_rng(0).normal(0, SIDE**-0.5, (SIDE, SIDE)).astype(np.float32)
    for _ in range(PRODUCTS):
        is_int8 = precision == "int8"
        y = (
            ops.matmul(quantised(y, LIMITS), small_matrix(weight), False, True)
            if is_int8
            else ops.matmul(y, weight, False, True)
        )
    settings = {
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16",
        "ENABLE_CPU_PINNING": False,
    }
    largest = ops.reduce_max(y, ops.constant([0, 1]), False)
    compiled = openvino.Core().compile_model(openvino.Model([largest], [x], "large"), "CPU", settings)
    requests = [compiled.create_infer_request() for _ in range(threads)]
    values = np.random.default_rng(1).normal(0, 1, (ROWS, SIDE)).astype(np.float32)
    pool = ThreadPoolExecutor(threads)

    def measure() -> float:
        began = time.perf_counter()

        def work(request: Any) -> int:
            count = 0
            while time.perf_counter() < began + SECONDS:
                request.infer([values])
                count += PRODUCTS * ROWS * SIDE**2
            return count

        return sum(pool.map(work, requests)) / (time.perf_counter() - began)

    measure()
    return measure
