"""`refresh` as people type it: from stores to the place where the artifact is served."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.model import artifact as artifacts
from service.model.artifact import Artifact, load
from tests.conftest import ROOT
from tests.training.conftest import TINIEST
from tests.waiting import wait_until
from training import gate
from training import run as command
from training.stores.store import Store


def arguments(run: Path, model_dir: Path, tiles: Path, mosaics: Path, *more: str) -> list[str]:
    said = ["refresh", str(tiles), "--probe-store", str(mosaics), "--run", str(run), "--model-dir", str(model_dir)]
    return [*said, "--name", "fresh", *TINIEST, *more]


@pytest.fixture(scope="module")
def refreshed(tiles: Path, mosaics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, refreshed into the empty place `served`."""
    folder = tmp_path_factory.mktemp("refresh")
    assert command.main(arguments(folder / "run", folder / "served", tiles, mosaics)) == 0
    return folder


def altered(made: Artifact, folder: Path, weight: float = 1.0, name: str = "") -> Artifact:
    """The same artifact with its head's weights multiplied, or a label of another name."""
    labels = tuple(
        label.model_copy(update={"name": name}) if name and i == 0 else label
        for i, label in enumerate(made.manifest.labels)
    )
    head = {**made.head, "weight": made.head["weight"] * np.float32(weight)}
    manifest = made.manifest.model_copy(update={"labels": labels, "version": "altered", "engines": ()})
    return artifacts.save(folder, manifest, made.backbone, head)


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_where_nothing_is_served_the_artifact_takes_its_place(refreshed: Path) -> None:
    assert load(refreshed / "served").sha256 == load(refreshed / "run" / "artifact").sha256
    assert not (refreshed / "served.previous").exists()
    told = json.loads((refreshed / "run" / "gate.json").read_text())
    assert told["passed"] is True
    assert "nothing is served there yet" in told["reason"]


def test_what_is_done_is_not_done_twice(
    refreshed: Path, tiles: Path, mosaics: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(refreshed)
    assert command.main(arguments(refreshed / "run", refreshed / "served", tiles, mosaics)) == 0
    assert state(refreshed) == before
    said = capsys.readouterr()
    assert "it is in place already" in said.out
    assert said.err == ""


def test_other_options_are_no_continuation(
    refreshed: Path, tiles: Path, mosaics: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state(refreshed)
    for more in (["--epochs", "3"], ["--features", "cls4"], ["--version", "2"]):
        assert command.main(arguments(refreshed / "run", refreshed / "served", tiles, mosaics, *more)) == 1
        assert f"{more[0][2:]} was" in capsys.readouterr().err
    assert state(refreshed) == before


def test_an_artifact_that_is_not_worse_takes_the_place_and_the_old_one_is_kept(
    refreshed: Path, tiles: Path, mosaics: Path, tmp_path: Path
) -> None:
    worse = altered(load(refreshed / "served"), tmp_path / "served", weight=-1)
    assert command.main(arguments(refreshed / "run", tmp_path / "served", tiles, mosaics)) == 0
    assert load(tmp_path / "served").sha256 == load(refreshed / "served").sha256
    assert load(tmp_path / "served.previous").sha256 == worse.sha256
    told = json.loads((refreshed / "run" / "gate.json").read_text())
    assert told["macro"]["candidate"] > told["macro"]["served"]
    assert told["interval"][0] < told["difference"] < told["interval"][1]


def test_an_artifact_that_is_worse_is_refused_and_can_be_accepted(
    refreshed: Path, tiles: Path, mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(refreshed / "run", tmp_path / "run"))
    served = Path(shutil.copytree(refreshed / "served", tmp_path / "served"))
    shutil.rmtree(run / "artifact")
    worse = altered(load(served), run / "artifact", weight=-1)
    before = state(served)
    asked = arguments(run, served, tiles, mosaics)
    for _ in range(2):
        assert command.main(asked) == 3
        said = capsys.readouterr()
        assert "it is worse beyond chance" in said.out
        assert f"{served} is left as it was; the candidate is {run / 'artifact'}" in said.err
    assert state(served) == before
    assert json.loads((run / "gate.json").read_text())["passed"] is False
    assert command.main([*asked, "--accept"]) == 0
    assert load(served).sha256 == worse.sha256
    assert command.main(asked) == 0  # it is there now


def test_an_artifact_for_other_labels_is_another_model(
    refreshed: Path, tiles: Path, mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = altered(load(refreshed / "served"), tmp_path / "served", name="Moon")
    asked = arguments(refreshed / "run", tmp_path / "served", tiles, mosaics)
    assert command.main(asked) == 3
    assert "other labels" in (said := capsys.readouterr().out)
    assert "Moon" in said
    assert load(tmp_path / "served").sha256 == other.sha256
    assert command.main([*asked, "--accept"]) == 0
    assert load(tmp_path / "served.previous").sha256 == other.sha256


def test_a_candidate_that_no_longer_tells_a_label_is_refused(refreshed: Path, mosaics: Path, tmp_path: Path) -> None:
    served = load(refreshed / "served")
    labels = [label.model_copy(update={"supervision": ()}) for label in served.manifest.labels]
    manifest = served.manifest.model_copy(update={"labels": tuple(labels), "groups": (), "engines": ()})
    candidate = artifacts.save(tmp_path / "mute", manifest, served.backbone, served.head)
    with pytest.raises(gate.Incomparable, match="cannot tell"):
        gate.judge(candidate, served, Store.open(mosaics))


def test_the_place_must_be_known_and_not_be_the_run(
    refreshed: Path, tiles: Path, mosaics: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MODEL_DIR", raising=False)
    run = refreshed / "run"
    asked = arguments(run, run / "artifact", tiles, mosaics)
    assert command.main(asked) == 1
    assert "serve another folder" in capsys.readouterr().err
    asked.remove("--model-dir")
    asked.remove(str(run / "artifact"))
    assert command.main(asked) == 1
    assert "MODEL_DIR" in capsys.readouterr().err


def test_killed_with_minus_9_between_and_within_its_stages_it_ends_as_an_unbroken_one(
    refreshed: Path, tiles: Path, mosaics: Path, tmp_path: Path
) -> None:
    run, served = tmp_path / "run", tmp_path / "served"
    asked = arguments(run, served, tiles, mosaics, "--checkpoint-minutes", "0.02")
    for sign in ("checkpoints/step_*.safetensors", "probe/probe.json"):
        process = subprocess.Popen([sys.executable, str(ROOT / "training/run.py"), *asked])
        wait_until(lambda sign=sign, process=process: process.poll() is not None or any(run.glob(sign)))
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not served.exists()
    assert command.main(asked) == 0
    unbroken = load(refreshed / "run" / "artifact").manifest
    broken = load(served).manifest
    for file in (artifacts.BACKBONE, artifacts.HEAD):
        assert broken.files[file] == unbroken.files[file]
