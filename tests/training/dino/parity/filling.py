"""Numbers that anybody can make again: parameters and crops that depend on their name and shape alone."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn

PRIME = 10007
#: Small enough for gradients that are clipped. Other matrices: √(3 / inputs of an output).
SCALES = {
    "cls_token": 0.1, "pos_embed": 0.1, "patch_embed.proj.weight": 0.02, "head.mlp.4.weight": 0.01,
    "head.prototypes": 0.02,
}  # fmt: skip


def filled(name: str, *shape: int, scale: float = 1.0, middle: float = 0.0) -> Tensor:
    """Float64; see README.md for the formula."""
    key = zlib.crc32(name.encode()) % PRIME
    index = np.arange(math.prod(shape), dtype=np.int64)
    spread = (index * index + key * (index + 1)) % PRIME
    return torch.from_numpy(middle + scale * (2 * spread / PRIME - 1)).reshape(shape)


def parameter(name: str, *shape: int) -> Tensor:
    """Of a network, by the name it has there."""
    kind = name.removeprefix("backbone.")
    if len(shape) == 1:
        return filled(name, *shape, scale=0.01, middle=float("norm" in kind and kind.endswith("weight")))
    return filled(name, *shape, scale=SCALES.get(kind, math.sqrt(3 * shape[0] / math.prod(shape))))


@torch.no_grad()
def fill(network: nn.Module, prefix: str = "") -> None:
    """Every parameter of it."""
    for name, tensor in network.named_parameters(prefix=prefix):
        tensor.copy_(parameter(name, *tensor.shape))


def crops(step: int, kind: str, count: int, size: int) -> Tensor:
    """count × 3 × size² normalised pixels, all first crops before all second crops."""
    return filled(f"{kind} crops of step {step}", count, 3, size, size, scale=2.0)


def digest(tensor: Tensor) -> Tensor:
    """Root mean square, projection on numbers of its own and three values: 5 float64 that stand for all."""
    flat = tensor.detach().flatten()
    n = len(flat)
    projection = flat @ filled("projection", n)
    ends_and_middle = flat[[0, (n - 1) // 2, n - 1]]
    return torch.cat([torch.stack([flat.norm(), projection]) / math.sqrt(n), ends_and_middle])
