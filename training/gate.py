"""Whether a new artifact may take the place of the one that is served: not worse on the same images, beyond chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.imagery.resize import resize
from service.model.artifact import Artifact
from service.model.land_cover import group_logit, sigmoid
from service.model.torch_engine import TorchEngine
from training.probe import intervals, metrics, supervision
from training.probe.metrics import Columns
from training.probe.supervision import Supervision
from training.progress import Progress
from training.stores.store import Store

BATCH = 64


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
    interval: intervals.Interval | None = None  #: of it, 95 %, paired
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
    names = asked_of(served, known)
    if not names:
        raise Incomparable(f"{store.path} asks nothing that {served.path} tells")
    before, after = (answers(artifact, store, test, known, names) for artifact in (served, candidate))
    before.require_a_positive(f"{store.path}, test split")
    difference, interval = intervals.of_macro_difference(before, after)
    old, new = (metrics.average_precision(columns) for columns in (before, after))
    passed = interval[1] >= 0
    reason = (
        f"macro average precision {new['macro']:.3f}, of the served {old['macro']:.3f}: a difference of "
        f"{difference:+.3f}, from {interval[0]:+.3f} to {interval[1]:+.3f} with {intervals.CONFIDENCE:.0%} confidence, "
        + ("so it is not worse beyond chance" if passed else "so it is worse beyond chance")
    )
    return Verdict(
        passed,
        reason,
        candidate.sha256,
        served.sha256,
        store=store.card.name,
        n=len(test),
        macro={"candidate": new["macro"], "served": old["macro"]},
        difference=difference,
        interval=interval,
        per_label={name: {"candidate": new["per_label"][name], "served": old["per_label"][name]} for name in names},
    )


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


def asked_of(artifact: Artifact, known: Supervision) -> list[str]:
    """Labels and groups that get a probability and of which the store knows the truth."""
    return [name for name in _told(artifact) if name in _asked(known)]


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
    engine = TorchEngine(artifact, torch.get_num_threads(), bfloat16=False)
    size = manifest.backbone.image_size
    logits = []
    with Progress(f"gate: {manifest.name} {manifest.version}", len(positions), "images") as progress:
        for start in range(0, len(positions), BATCH):
            some = store.images[positions[start : start + BATCH]][..., bands]
            logits.append(engine.run(np.stack([resize(image, size) for image in some])).logits)
            progress.advance(len(some))
    return columns(artifact, np.concatenate(logits), known, names)


def columns(artifact: Artifact, logits: NDArray[np.float32], known: Supervision, names: list[str]) -> Columns:
    """Probabilities under these names, with what is known of the same images."""
    manifest, z = artifact.manifest, logits.astype(np.float64)
    place = {label.name: i for i, label in enumerate(manifest.labels)}
    told = {name: z[:, i] for name, i in place.items()}
    told |= {group.name: group_logit(z[:, [place[name] for name in group.members]]) for group in manifest.groups}
    truth = _asked(known)
    return Columns(
        tuple(names),
        np.column_stack([sigmoid(told[name]) for name in names]).astype(np.float32),
        np.column_stack([truth[name] for name in names]),
    )
