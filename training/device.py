"""What the machine at hand does fastest."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import timm.layers
import torch


def fastest_dtype() -> str:
    """bfloat16 where a product of matrices is faster with it, else float32."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(512, 512, dtype=dtype)
        a @ a
        started = time.perf_counter()
        for _ in range(4):
            a @ a
        return time.perf_counter() - started

    dtypes = (torch.float32, torch.bfloat16)
    least = [min(times) for times in zip(*(map(seconds, dtypes) for _ in range(5)), strict=True)]  # others compute, too
    return "bfloat16" if least[1] < least[0] else "float32"


@contextmanager
def tuned_for_training(device: torch.device) -> Iterator[None]:
    """Within, networks that are made and trained run faster, at less than full precision on CUDA."""
    fused, precision = timm.layers.use_fused_attn(), torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where autocast leaves float32
    else:
        keep_memory()
        # Its backward pass is slow on CPUs: plain products train ViT-Tiny/8 at 64 px 1.6 times faster.
        timm.layers.set_fused_attn(False)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        timm.layers.set_fused_attn(fused)


def keep_memory() -> None:
    """Keeps large blocks between uses, where glibc would give them back to the kernel; for the whole process.

    Training and features both gain a third (ViT-Tiny/8, two cores).
    """
    with suppress(OSError, AttributeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        trim_threshold, mmap_max = -1, -4
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_max, 0)
