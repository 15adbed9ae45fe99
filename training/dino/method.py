"""The parts of DINO: projection head, loss with its centre, teacher. Section 3 of the paper, in its order."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STUDENT_TEMPERATURE = 0.1
CENTRE_MOMENTUM = 0.9
LARGEST_GRADIENT_NORM = 3.0  # of each tensor


class Head(nn.Module):
    """Three linear layers with GELU, L2 norm, then cosine to each prototype. N × dim to N × prototypes, in −1…1.

    The last layer is a linear map whose rows are normalised (weight norm with its gain fixed at 1).
    """

    def __init__(self, dim: int, prototypes: int, hidden: int = 2048, bottleneck: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.kaiming_uniform_(self.prototypes, a=math.sqrt(5))  # as nn.Linear; only the directions count

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.normalize(self.mlp(x), dim=-1, eps=1e-6), F.normalize(self.prototypes, dim=-1))
