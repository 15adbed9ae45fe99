"""Whether a new artifact may take the place of the one that is served: not worse on the same images, beyond chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.imagery.resize import resize
from service.model.artifact import Artifact
from service.model.engine import choose
from service.model.land_cover import group_logit, sigmoid
from training.probe import supervision
from training.probe.metrics import Columns
from training.probe.supervision import UNKNOWN, Supervision
from training.progress import Progress
from training.stores.store import Store

BATCH = 64
RESAMPLES, AT_ONCE, CONFIDENCE = 1000, 100, 0.95

Interval = tuple[float, float]


class Incomparable(ValueError):
    """Two artifacts that are no two versions of one: they do not answer the same questions."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found, as gate.json keeps it."""

    passed: bool
    reason: str
    candidate: str  #: SHA-256
    served: str | None
    store: str = ""
    split: str = "test"
    n: int = 0
    macro: dict[str, float] | None = None  #: average precision of both, over what both are asked
    difference: float | None = None  #: candidate minus served
    interval: Interval | None = None  #: of it, 95 %, paired
    per_label: dict[str, dict[str, float | None]] | None = None  #: null where the split has none

    def record(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


def judge(candidate: Artifact, served: Artifact | None, store: Store) -> Verdict:
    """Compares two artifacts, each with its own head, by macro average precision on the test split of a store.

    Refused is a candidate for which the whole interval of the difference is below zero. Raises Incomparable if they
    have other labels, the store lacks a band that one of them reads, or the candidate no longer tells a label
    that the served one tells.
    """
    if served is None:
        return Verdict(
            True, "nothing is served there yet, so there is nothing to be worse than", candidate.sha256, None
        )
    _require_comparable(candidate, served)
    test = store.of_split("test")
    if not len(test):
        raise ValueError(f"{store.path}: the gate needs a test split")
    known = supervision.read(store.card, store.rows, store.of_split("train")).of(test)
    names = [name for name in _told(served) if name in _asked(known)]
    if not any((truth == 1).any() for name, truth in _asked(known).items() if name in names):
        raise ValueError(f"{store.path}: no image of the test split has a label that {served.path} tells")
    before, after = (answers(artifact, store, test, known, names) for artifact in (served, candidate))
    difference, interval = of_macro_difference(before, after)
    once = np.ones((1, len(test)), np.int64)
    new, old = _per_label(after, once), _per_label(before, once)
    macro = {"candidate": float(_macro(new)[0]), "served": float(_macro(old)[0])}
    passed = interval[1] >= 0
    reason = (
        f"macro average precision {macro['candidate']:.3f}, of the served {macro['served']:.3f}: a difference of "
        f"{difference:+.3f}, from {interval[0]:+.3f} to {interval[1]:+.3f} with {CONFIDENCE:.0%} confidence, "
        + ("so it is not worse beyond chance" if passed else "so it is worse beyond chance")
    )
    return Verdict(
        passed,
        reason,
        candidate.sha256,
        served.sha256,
        store=store.card.name,
        n=len(test),
        macro=macro,
        difference=difference,
        interval=interval,
        per_label={
            name: {"candidate": _or_null(one), "served": _or_null(other)}
            for name, one, other in zip(names, new[:, 0].tolist(), old[:, 0].tolist(), strict=True)
        },
    )


def _or_null(figure: float) -> float | None:
    return None if np.isnan(figure) else figure


def _require_comparable(candidate: Artifact, served: Artifact) -> None:
    new, old = ({label.name for label in artifact.manifest.labels} for artifact in (candidate, served))
    if new != old:
        differ = ", ".join(sorted(new ^ old))
        raise Incomparable(f"{served.path} has other labels than {candidate.path} ({differ}): it is another model")
    if lost := [name for name in _told(served) if name not in _told(candidate)]:
        raise Incomparable(f"{candidate.path} cannot tell what {served.path} tells: {', '.join(lost)}")


def _told(artifact: Artifact) -> list[str]:
    """Labels and groups that get a probability."""
    manifest = artifact.manifest
    return [label.name for label in manifest.labels if label.is_answered] + [group.name for group in manifest.groups]


def _asked(known: Supervision) -> dict[str, NDArray[np.int8]]:
    """Truth of what a store can say, by name of label or group."""
    of_labels = dict(zip(known.labels, known.targets.T, strict=True))
    return of_labels | {name: truth for (name, _), truth in zip(known.groups, known.any_of.T, strict=True)}


def answers(
    artifact: Artifact, store: Store, positions: NDArray[np.int64], known: Supervision, names: list[str]
) -> Columns:
    """What an artifact says, under these names, of images of a store, read as the service reads them."""
    manifest = artifact.manifest
    if missing := [band for band in manifest.input.bands if band not in store.card.bands]:
        raise Incomparable(f"{artifact.path} reads {', '.join(missing)}, which {store.path} has not")
    bands = [store.card.bands.index(band) for band in manifest.input.bands]
    engine, size = choose(artifact, torch.get_num_threads()), manifest.backbone.image_size
    logits = []
    with Progress(f"gate: {manifest.name} {manifest.version}", len(positions), "images") as progress:
        for start in range(0, len(positions), BATCH):
            some = store.images[positions[start : start + BATCH]][..., bands]
            logits.append(engine.run(np.stack([resize(image, size) for image in some])).logits)
            progress.advance(len(some))
    z = np.concatenate(logits).astype(np.float64)
    place = {label.name: i for i, label in enumerate(manifest.labels)}
    told = {name: z[:, i] for name, i in place.items()}
    told |= {group.name: group_logit(z[:, [place[name] for name in group.members]]) for group in manifest.groups}
    truth = _asked(known)
    return Columns(
        tuple(names),
        np.column_stack([sigmoid(told[name]) for name in names]).astype(np.float32),
        np.column_stack([truth[name] for name in names]),
    )


def of_macro_difference(first: Columns, second: Columns) -> tuple[float, Interval]:
    """Macro average precision of `second` minus that of `first`, and its interval by a paired bootstrap over images."""
    chance, images = np.random.default_rng(0), len(first.truth)

    def difference(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return _macro(_per_label(second, weights)) - _macro(_per_label(first, weights))

    found = [
        difference(
            np.stack([np.bincount(chance.integers(0, images, images), minlength=images) for _ in range(AT_ONCE)])
        )
        for _ in range(RESAMPLES // AT_ONCE)
    ]
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(np.concatenate(found), (tail, 100 - tail)).tolist()
    return float(difference(np.ones((1, images), np.int64))[0]), (low, high)


def _macro(per_label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the columns that have a positive: a number a weighting."""
    there = ~np.isnan(per_label)
    mean: NDArray[np.float64] = np.where(there, per_label, 0).sum(0) / np.maximum(there.sum(0), 1)
    return mean


def _per_label(columns: Columns, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average precision, columns × weightings; `weights` is weightings × images."""
    each = zip(columns.probabilities.T, columns.truth.T, strict=True)
    return np.stack([_average_precision(p, truth, weights) for p, truth in each])


def _average_precision(
    p: NDArray[np.float32], truth: NDArray[np.int8], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Σ precision · Δrecall over distinct scores; NaN where no positive has weight."""
    known = np.flatnonzero(truth != UNKNOWN)
    order = known[np.argsort(-p[known], kind="stable")]
    counts = weights[:, order]
    hits = counts * (truth[order] == 1)
    last_alike = (
        np.searchsorted(-p[order], -p[order], side="right") - 1
    )  # answers with one score stand or fall together
    precision = (hits.cumsum(1) / np.maximum(counts.cumsum(1), 1))[:, last_alike]
    positives = hits.sum(1)
    average: NDArray[np.float64] = np.where(positives > 0, (hits * precision).sum(1) / np.maximum(positives, 1), np.nan)
    return average
