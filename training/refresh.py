"""From stores to a served artifact in one command: what is there already is not done again.

The outputs of each stage are its state. As make sees it, a stage is done if what it makes is newer than what that is
made from; pretraining is done if its last checkpoint is that of its last step.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.model.artifact import MANIFEST, load
from training import gate, place
from training.dino import checkpoint
from training.dino.config import Config
from training.files import write_json
from training.gate import Incomparable, Verdict
from training.runs import Run, differences
from training.stores.store import Store


def begin(run: Run, asked: Mapping[str, Any], learning: Mapping[str, Any]) -> None:
    """Records what a refresh was asked for, or checks it against what it was begun with.

    `learning` is the part of the run's configuration that is known beforehand. Raises ValueError naming what differs.
    """
    if (run.path / "config.json").exists():
        run.begin_or_continue(dict(learning))
    file = run.path / "refresh.json"
    if not file.exists():
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(file, dict(asked))
    begun = json.loads(file.read_text())
    if said := differences(begun, asked, sorted(begun.keys() | asked.keys())):
        raise ValueError(f"{run.path} was begun with other options ({said}); choose another --run")


def is_pretrained(run: Run) -> bool:
    """True if pretraining has come to its end."""
    newest = checkpoint.latest(run.checkpoints)
    if newest is None:
        return False
    config = Config.read(run)
    return newest[0] >= round(config.epochs * (config.images // config.batch))


def chain(run: Run) -> tuple[Path, ...]:
    """What the stages make, each from the one before: teacher, probe, evaluation, artifact."""
    newest = checkpoint.latest(run.checkpoints)
    assert newest is not None  # it is pretrained
    return newest[1], run.probed, run.evaluation, run.artifact / MANIFEST


def in_order(run: Run) -> None:
    """Has what the stages made be as old as they come one after the other.

    For a run that was brought from S3, where files have the times at which they were brought. Nothing in it is of
    other options or weights: `begin` sees to the first, and pretraining makes the same of the same.
    """
    if is_pretrained(run):
        now = time.time_ns()
        for place, file in enumerate(chain(run)):
            if file.exists():
                os.utime(file, ns=(now + place - 1000, now + place - 1000))


def is_made(result: Path, source: Path) -> bool:
    """True if `result` is there and not older than what it is made from."""
    return result.exists() and result.stat().st_mtime_ns >= source.stat().st_mtime_ns


def judge(run: Run, store: Store, model_dir: Path) -> Verdict:
    """The gate's verdict on the run's artifact, measured once and kept in gate.json."""
    candidate, served = load(run.artifact), place.served(model_dir)
    before = served.sha256 if served else None
    if before == candidate.sha256:
        return Verdict(True, "it is in place already", candidate.sha256, before)
    file = run.path / "gate.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    if (known.get("candidate"), known.get("served")) == (candidate.sha256, before):
        return Verdict(**known)
    try:
        verdict = gate.judge(candidate, served, store)
    except Incomparable as error:
        verdict = Verdict(False, str(error), candidate.sha256, before)
    write_json(file, verdict.record())
    return verdict


def put_in_place(run: Run, model_dir: Path) -> str:
    """Puts the run's artifact where it is served, and says what is where."""
    artifact = load(run.artifact)
    kept = place.put(artifact, model_dir)
    told = f"{model_dir}: serves {artifact.manifest.name} {artifact.manifest.version}, sha256 {artifact.sha256}"
    return f"{told}; the one before is kept in {kept}" if kept else told
