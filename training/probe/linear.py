"""Linear heads on frozen features, solved rather than trained: L-BFGS on all images, regularisation by validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

from training.probe.supervision import Supervision

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # on half the squared weights of standardised features
ITERATIONS = 200


@dataclass(frozen=True)
class Head:
    """logits = features · weightᵀ + bias; the standardisation of the features is folded in."""

    weight: NDArray[np.float32]  #: outputs × features
    bias: NDArray[np.float32]  #: outputs
    penalty: float

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """N × features to N × outputs."""
        return features @ self.weight.T + self.bias


Loss = Callable[[Tensor, NDArray[np.int64]], Tensor]  #: logits of some images and their positions, to a mean loss


def fit(
    features: NDArray[np.float32], outputs: int, loss: Loss, train: NDArray[np.int64], validation: NDArray[np.int64]
) -> Head:
    """The head with the least loss on `validation` among those that fit `train` under each penalty.

    Deterministic: the problem is convex (nearly so with groups) and starts from zero.
    """
    x = torch.from_numpy(np.asarray(features[train], np.float64))
    mean, std = x.mean(0), x.std(0).clamp(min=1e-6)
    x = (x - mean) / std
    held_out = (torch.from_numpy(np.asarray(features[validation], np.float64)) - mean) / std
    weight, bias = x.new_zeros(outputs, x.shape[1]), x.new_zeros(outputs)
    best: tuple[float, Tensor, Tensor, float] | None = None
    for penalty in PENALTIES:  # each from the solution before: a path from simple to complex
        weight, bias = _minimise(lambda z: loss(z, train), x, weight, bias, penalty)
        with torch.no_grad():
            found = float(loss(held_out @ weight.T + bias, validation))
        if best is None or found < best[0]:
            best = (found, weight, bias, penalty)
    assert best is not None  # there are penalties
    _, weight, bias, penalty = best
    folded = weight / std
    return Head(folded.float().numpy(), (bias - folded @ mean).float().numpy(), penalty)


def _minimise(
    loss: Callable[[Tensor], Tensor], x: Tensor, weight: Tensor, bias: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> float:
        solver.zero_grad()
        value = loss(x @ weight.T + bias) + 0.5 * penalty * weight.square().sum()
        value.backward()
        return float(value.detach())

    solver.step(closure)
    return weight.detach(), bias.detach()


def single_label_loss(classes: NDArray[np.int64]) -> Loss:
    """Cross-entropy; `classes` are those of all images."""
    truth = torch.from_numpy(classes)
    return lambda logits, positions: cross_entropy(logits, truth[positions])


def multi_label_loss(supervision: Supervision) -> Loss:
    """Binary cross-entropy where a label is known; where only a group is, that at least one member is there.

    The latter is a noisy-or of independent members: −log(1 − Π(1 − p)).
    """
    targets, any_of = torch.from_numpy(supervision.targets), torch.from_numpy(supervision.any_of)
    members: Sequence[list[int]] = [supervision.members(group) for group in range(len(supervision.groups))]

    def loss(logits: Tensor, positions: NDArray[np.int64]) -> Tensor:
        here = targets[positions].to(logits.dtype)
        known = here >= 0
        total = (binary_cross_entropy_with_logits(logits, here.clamp(min=0), reduction="none") * known).sum()
        for group, of_group in enumerate(members):
            undecided = (any_of[positions, group] == 1) & ~(here[:, of_group] == 1).any(1)
            none_there = softplus(logits[undecided][:, of_group]).sum(1)  # −log of the probability
            total = total - torch.log(-torch.expm1(-none_there.clamp(min=1e-12))).sum()
        return total / len(positions)

    return loss
