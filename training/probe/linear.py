"""Linear heads on frozen features, solved rather than trained: L-BFGS on all images, regularisation by validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, softplus

from training.probe.balance import Weights
from training.probe.supervision import Supervision

PENALTIES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)  # on half the squared weights of standardised features
ITERATIONS = 200


@dataclass(frozen=True)
class Head:
    """logits = features · weightᵀ + bias; the standardisation of the features is folded in."""

    weight: NDArray[np.float32]  #: outputs × features
    bias: NDArray[np.float32]  #: outputs
    penalty: float  #: 0 if it learnt without

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """N × features to N × outputs."""
        return features @ self.weight.T + self.bias

    def rescaled(self, slope: NDArray[np.float64], offset: NDArray[np.float64]) -> Head:
        """slope · logits + offset, a number an output each, folded in."""
        weight, bias = self.weight * slope[:, None], self.bias * slope + offset
        return Head(weight.astype(np.float32), bias.astype(np.float32), self.penalty)


Loss = Callable[[Tensor, NDArray[np.int64]], Tensor]  #: logits of some images and their positions, to a mean loss


def fit(
    features: NDArray[np.float32], outputs: int, loss: Loss, train: NDArray[np.int64], validation: NDArray[np.int64]
) -> Head:
    """The head with the least loss on `validation` among those that fit `train` under each penalty.

    Deterministic: the problem is convex (nearly so with groups) and starts from zero.
    """
    x = torch.from_numpy(np.asarray(features[train], np.float64))
    mean, std = x.mean(0), x.std(0, correction=0).clamp(min=1e-6)  # one image alone deviates by 0, not by NaN
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
    minimise(lambda: loss(x @ weight.T + bias) + 0.5 * penalty * weight.square().sum(), [weight, bias])
    return weight.detach(), bias.detach()


def minimise(objective: Callable[[], Tensor], parameters: list[Tensor]) -> None:
    """Changes the parameters to where a smooth objective of them is least, by L-BFGS."""
    solver = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> float:
        solver.zero_grad()
        value = objective()
        value.backward()
        return float(value.detach())

    solver.step(closure)


def single_label_loss(classes: NDArray[np.int64]) -> Loss:
    """Cross-entropy; `classes` are those of all images."""
    truth = torch.from_numpy(classes)
    return lambda logits, positions: cross_entropy(logits, truth[positions].to(logits.device))


def multi_label_loss(supervision: Supervision, weights: Weights | None = None) -> Loss:
    """Binary cross-entropy where a label is known; where only a group is, that at least one member is there.

    The latter is a noisy-or of independent members: −log(1 − Π(1 − p)). With `weights`, what is there counts
    as often as they say.
    """
    targets, any_of = torch.from_numpy(supervision.targets), torch.from_numpy(supervision.any_of)
    members: Sequence[list[int]] = [supervision.members(group) for group in range(len(supervision.groups))]
    of_labels = torch.from_numpy(weights.labels if weights else np.ones(len(supervision.labels)))
    of_groups = weights.groups.tolist() if weights else [1.0] * len(members)

    def loss(logits: Tensor, positions: NDArray[np.int64]) -> Tensor:
        here = targets[positions].to(logits)
        entropy = binary_cross_entropy_with_logits(
            logits, here.clamp(min=0), reduction="none", pos_weight=of_labels.to(logits)
        )
        total = (entropy * (here >= 0)).sum()
        for group, of_group in enumerate(members):
            told = any_of[positions, group].to(logits.device) == 1
            undecided = told & ~(here[:, of_group] == 1).any(1)
            none_there = softplus(logits[undecided][:, of_group]).sum(1)  # −log of the probability
            total = total - of_groups[group] * torch.log(-torch.expm1(-none_there.clamp(min=1e-12))).sum()
        return total / len(positions)

    return loss
