"""How good probabilities are: average precision per label, macro and micro; thresholds for the best F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import multilabel_average_precision

from service.model.land_cover import group_logit, sigmoid
from training.probe.supervision import UNKNOWN, Supervision


@dataclass(frozen=True)
class Columns:
    """What is answered, side by side: labels with direct supervision, then groups."""

    names: tuple[str, ...]
    probabilities: NDArray[np.float32]  #: N × columns
    truth: NDArray[np.int8]  #: N × columns: 1, 0, −1 unknown


def columns(logits: NDArray[np.float32], supervision: Supervision) -> Columns:
    """Probabilities of everything that the model can tell, with what is known of it."""
    direct = np.flatnonzero(supervision.direct)
    z = logits.astype(np.float64)
    of_groups = [sigmoid(group_logit(z[:, supervision.members(g)])) for g in range(len(supervision.groups))]
    return Columns(
        (*(supervision.labels[i] for i in direct), *(name for name, _ in supervision.groups)),
        np.column_stack([sigmoid(z[:, direct]), *of_groups]).astype(np.float32),
        np.column_stack([supervision.targets[:, direct], supervision.any_of]).astype(np.int8),
    )


def average_precision(answers: Columns) -> dict[str, float | dict[str, float | None]]:
    """`macro` over the columns with a positive, `micro` over all entries, `per_label` (null without a positive)."""
    given = torch.from_numpy(answers.probabilities), torch.from_numpy(answers.truth.astype(np.int64))
    count = len(answers.names)
    each = multilabel_average_precision(*given, count, average="none", ignore_index=UNKNOWN).tolist()
    micro = multilabel_average_precision(*given, count, average="micro", ignore_index=UNKNOWN)
    there = (answers.truth == 1).any(0)
    per_label = {name: value if has else None for name, value, has in zip(answers.names, each, there, strict=True)}
    return {"macro": float(np.mean(np.asarray(each)[there])), "micro": float(micro), "per_label": per_label}


def best_thresholds(answers: Columns) -> dict[str, float]:
    """For each column the probability from which on F1 is highest; one half where no positive is known."""
    found = {}
    for name, p, truth in zip(answers.names, answers.probabilities.T, answers.truth.T, strict=True):
        known = truth != UNKNOWN
        order = np.argsort(-p[known], kind="stable")
        scores, hits = p[known][order], np.cumsum(truth[known][order] == 1)
        if not len(hits) or hits[-1] == 0:
            found[name] = 0.5
            continue
        ends = np.append(scores[1:] < scores[:-1], True)  # a threshold takes all of those with one score
        f1 = ends * 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
        found[name] = float(scores[int(f1.argmax())])
    return found
