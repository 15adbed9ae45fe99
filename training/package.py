"""A run's teacher and probe as an artifact, with the numbers that were measured on it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from service.model.artifact import INT8, Artifact, save
from service.model.manifest import EmbeddingSpec, Group, HeadSpec, InputModel, Int8Engine, Label, Manifest, Training
from training.card import closeness, model_card
from training.dino import checkpoint
from training.dino.config import Config
from training.probe.train import described, teacher
from training.runs import Run
from training.stores.store import Store


def package(
    run: Run, out: Path, name: str, version: str, description: str, divisor: float | None
) -> tuple[Artifact, str]:
    """Writes the artifact of a run into an empty folder: weights as float16, head as float32, card and curve.

    With the ranges of int8 if that answers as float32 does; what became of it is the second thing returned. `divisor`
    is that of the imagery to be served, where it differs from that of the probe's store. Raises
    FileNotFoundError if a step before is missing, ValueError if probe or evaluation are of other weights,
    ArtifactError if the result would not load.
    """
    config = Config.read(run)
    newest = checkpoint.latest(run.checkpoints)
    if newest is None or not (run.probe / "probe.json").exists():
        raise FileNotFoundError(f"{run.path}: run pretrain and probe first")
    probe = json.loads((run.probe / "probe.json").read_text())
    # In a job of its own the store is not at hand; older probes did not keep its card.
    card = probe.get("card") or described(Store.open(Path(probe["store_path"])).card)
    own = _measured(run, probe)
    tested = next((entry for entry in own if entry["store"] == probe["store"] and "per_label" in entry), {})
    mean, std = config.mean_and_std
    step, file = newest
    manifest = Manifest(
        name=name,
        version=version,
        description=description,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence="Apache-2.0",
        attribution=card["attribution"],
        backbone=config.spec,
        embedding=EmbeddingSpec(dim=config.spec.dim),
        input=InputModel(
            bands=config.bands,
            patch_px=card["patch_px"],
            gsd_m=card["gsd_m"],
            divisor=divisor or card["divisor"],
            mean=mean,
            std=std,
        ),
        head=HeadSpec(features=probe["features"]),
        labels=tuple(Label(**label | _average_precision(label, tested)) for label in probe["labels"]),
        groups=tuple(Group(**group | _average_precision(group, tested)) for group in probe["groups"]),
        training=Training(
            stores=(*config.stores, f"{probe['store']} (probe)"),
            images=config.images,
            epochs=step / (config.images // config.batch),
            seed=config.seed,
            init=Path(config.init).name or None,
            commit=_commit(),
        ),
        metrics=tuple(_without_curves(entry) for entry in own),
        files={},
    )
    weights = {key: tensor.half().numpy() for key, tensor in checkpoint.teacher_backbone(file).items()}
    head = load_file(run.head)
    with tempfile.TemporaryDirectory(dir=run.path) as folder:
        drafted = save(Path(folder) / "drafted", manifest, weights, head)
        engines, files, said = _int8(drafted, Path(probe["store_path"]))
    manifest = manifest.model_copy(update={"engines": engines})
    for_people = {
        "card.md": model_card(manifest, tested.get("per_label_interval", {})).encode(),
        "report/curve.png": run.curve.read_bytes(),
    }
    return save(out, manifest, weights, head, {**files, **for_people}), said


def _int8(artifact: Artifact, store: Path) -> tuple[tuple[Int8Engine, ...], dict[str, bytes], str]:
    """Engines and files of int8, if it is close enough, and a sentence on it."""
    if find_spec("openvino") is None:
        return (), {}, "not packaged: openvino is not installed"
    from training import int8

    try:
        entry, content = int8.quantise(artifact, Store.open(store))
    except (FileNotFoundError, ValueError) as error:
        return (), {}, f"not packaged: {error}"
    if not int8.is_close(entry):
        return (), {}, f"not packaged: {closeness(entry)}, which is too far"
    return (entry,), {INT8: content}, f"packaged: {closeness(entry)}"


def _measured(run: Run, probe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of the evaluation that are of the run's teacher, on which the probe must stand, too."""
    key = teacher(run, probe["features"]).key
    digest = hashlib.sha256(run.head.read_bytes()).hexdigest()
    if (probe["representation"], probe["head_sha256"]) != (key, digest):
        raise ValueError(f"{run.path}: the probe was fitted on other weights than the newest; run probe again")
    entries = json.loads(run.evaluation.read_text()) if run.evaluation.exists() else []
    own = [entry for entry in entries if entry["key"] == key and _protocol(entry) == _protocol(probe)]
    if entries and not own:
        raise ValueError(f"{run.path}: the evaluation is of other weights, features or fit; run evaluate again")
    return own


def _protocol(said: Mapping[str, Any]) -> tuple[Any, Any]:
    return said.get("fit"), said.get("balance")


def _average_precision(part: Mapping[str, Any], tested: Mapping[str, Any]) -> dict[str, float | None]:
    return {"average_precision": tested.get("per_label", {}).get(part["name"])}


def _without_curves(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the evaluation with the errors of its calibration alone: the curves are the report's."""
    errors = {key: value for key, value in entry.get("calibration", {}).items() if isinstance(value, float)}
    return {**entry, "calibration": errors} if errors else dict(entry)


def _commit() -> str | None:
    """Of the code that packages, if it runs from a clone."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git
        return None
    return done.stdout.strip() or None
