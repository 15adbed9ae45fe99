"""The probe of a run: a linear head on the frozen teacher, for one labelled store."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from safetensors.numpy import save_file

from service.model.manifest import Group, Label
from training.dino import checkpoint
from training.dino.config import Config
from training.files import replacing, write_json
from training.probe import features, metrics, protocol, supervision, thresholds
from training.probe.protocol import Protocol
from training.probe.representations import Transformer
from training.runs import Run
from training.stores.store import Card, Store

FEATURES = {"cls": 1, "cls4": 4}  # blocks whose cls tokens stand side by side


def teacher(run: Run, kind: str) -> Transformer:
    """The run's newest teacher as a representation. Raises FileNotFoundError before pretraining."""
    newest = checkpoint.latest(run.checkpoints)
    if newest is None:
        raise FileNotFoundError(f"{run.path} has no checkpoint: run pretrain first")
    config = Config.read(run)
    weights = checkpoint.teacher_backbone(newest[1])
    mean, std = config.mean_and_std
    return Transformer(run.name, config.spec, weights, len(config.bands), mean, std, FEATURES[kind])


def require_bands(run: Run, store: Store) -> None:
    """Raises ValueError unless the store holds the bands that the run learnt from, in their order."""
    bands = Config.read(run).bands
    if store.card.bands != bands:
        raise ValueError(f"{store.path} holds {', '.join(store.card.bands)}, but the run reads {', '.join(bands)}")


def described(card: Card) -> dict[str, Any]:
    """What an artifact says of the store of its probe."""
    divisor = card.stretch["divisor"]
    return {
        "patch_px": card.image_shape[0],
        "gsd_m": card.gsd_m,
        "divisor": divisor,
        "attribution": card.attribution,
    }


def probe(
    run: Run, store: Store, kind: str, how: Protocol | None = None, precision: float | None = None
) -> dict[str, Any]:
    """Fits the head on the train split, calibrates it and chooses its thresholds on validation, keeps it in the run.

    Thresholds are those of the best F1, or the lowest that reach `precision`. Returns what is written to
    probe/probe.json. Raises ValueError for a store without labels or splits, or without a label in one of them.
    """
    how = how or Protocol()
    require_bands(run, store)
    train, validation = store.of_split("train"), store.of_split("validation")
    if not store.card.labels or not len(train) or not len(validation):
        raise ValueError(f"{store.path}: a probe needs labels and the splits train and validation")
    known = supervision.read(store.card, store.rows, train)
    representation = teacher(run, kind)
    found = features.cached(representation, store, run.features)
    head = protocol.of_labels(found, known, train, validation, how).calibrated
    told = metrics.columns(head(found[validation]), known.of(validation))
    told.require_a_positive(f"{store.path}, validation split")
    bounds = thresholds.best_f1(told) if precision is None else thresholds.of_precision(told, precision)
    result = {
        "store": store.card.name,
        "store_path": str(store.path),
        "card": described(store.card),
        "features": kind,
        "representation": representation.key,
        "fit": how.fit,
        "balance": how.balance,
        "penalty": head.penalty,
        "precision": precision,
        "n": {"train": len(train), "validation": len(validation)},
        "labels": [label.model_dump(mode="json") for label in _labels(known, bounds)],
        "groups": [group.model_dump(mode="json") for group in _groups(known, bounds)],
        "validation": metrics.average_precision(told),
    }
    run.probe.mkdir(exist_ok=True)
    with replacing(run.head) as unfinished:
        save_file({"weight": head.weight, "bias": head.bias}, unfinished)
    write_json(run.probe / "probe.json", {**result, "head_sha256": hashlib.sha256(run.head.read_bytes()).hexdigest()})
    return result


def _labels(known: supervision.Supervision, bounds: Mapping[str, float | None]) -> list[Label]:
    labels = []
    for name, direct, by_group in zip(known.labels, known.direct, known.by_group, strict=True):
        kinds = (*(("direct",) if direct else ()), *(("group",) if by_group else ()))
        labels.append(Label(name=name, threshold=bounds.get(name), supervision=kinds))
    return labels


def _groups(known: supervision.Supervision, bounds: Mapping[str, float | None]) -> list[Group]:
    return [Group(name=name, members=members, threshold=bounds[name]) for name, members in known.groups]
