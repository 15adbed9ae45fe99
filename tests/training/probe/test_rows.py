"""The rows of the table beyond the run's own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from service.imagery.resize import resize
from service.model.artifact import Artifact
from service.model.torch_engine import TorchEngine
from tests.conftest import ROOT, save_tiny_artifact
from tests.training.conftest import TINIEST
from tests.waiting import wait_until
from training import run as command
from training.dino import checkpoint
from training.dino.config import Config
from training.probe import rows, supervised
from training.runs import Run
from training.stores.store import Store


@pytest.fixture(scope="module")
def run(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a checkpoint."""
    folder = tmp_path_factory.mktemp("runs") / "rows"
    assert command.main(["pretrain", str(tiles), "--run", str(folder), *TINIEST, "--epochs", "1"]) == 0
    return folder


def test_the_row_of_an_artifact_has_the_embeddings_that_it_serves(
    run: Path, mosaics: Path, tiny_artifact: Artifact
) -> None:
    store = Store.open(mosaics)
    row = rows.representation(str(tiny_artifact.path), Run(run), [store], "cls")
    assert row.name == "tiny 1"
    resized = np.stack([resize(image, 32) for image in store.images[:4]])
    served = TorchEngine(tiny_artifact, torch.get_num_threads()).run(resized).embeddings
    assert row(store.images[:4]) == pytest.approx(served, rel=1e-5, abs=1e-6)


def test_runs_artifacts_and_named_rows_stand_in_one_table(
    run: Path, mosaics: Path, tmp_path: Path, tiny_artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    here, other = (Path(shutil.copytree(run, tmp_path / name)) for name in ("here", "other"))
    asked = ["evaluate", str(mosaics), "--run", str(here), "--fit", "reference", "--balance", "inverse"]
    wanted = f"statistics,ours,{other},{tiny_artifact.path}"
    assert command.main([*asked, "--rows", wanted]) == 0
    entries = json.loads((here / "evaluation.json").read_text())
    assert [entry["representation"] for entry in entries] == ["image statistics", "here", "other", "tiny 1"]
    assert {(entry["fit"], entry["balance"]) for entry in entries} == {("reference", "inverse")}
    assert entries[1]["macro"] == entries[2]["macro"]
    assert entries[1]["key"] == rows.representation("ours", Run(here), [], "cls4").key
    assert "expected calibration error" in capsys.readouterr().out


def test_rows_that_cannot_be_are_refused_by_name(run: Path, mosaics: Path, tmp_path: Path) -> None:
    store = Store.open(mosaics)
    with pytest.raises(ValueError, match="no row is called 'colossal'"):
        rows.representation("colossal", Run(run), [store], "cls")
    save_tiny_artifact(tmp_path / "infrared", ("B08", "B04", "B03"))
    with pytest.raises(ValueError, match="reads B08, B04, B03, but the run reads B04, B03, B02"):
        rows.representation(str(tmp_path / "infrared"), Run(run), [store], "cls")
    with pytest.raises(ValueError, match="needs a store with labels"):
        rows.representation("supervised", Run(run), [], "cls")


@pytest.mark.parametrize("kind", ["tiles", "mosaics"])
def test_supervised_training_learns_the_labels(
    kind: str, run: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = Store.open(request.getfixturevalue(kind))
    config = replace(Config.read(Run(run)), epochs=2)
    training = supervised.Training(tmp_path / "supervised", config, store, torch.device("cpu"))
    losses = [float(training.one_step()) for _ in range(training.steps)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])


def test_it_sees_as_many_images_as_the_run(run: Path, mosaics: Path, tmp_path: Path) -> None:
    config = Config.read(Run(run))
    training = supervised.Training(tmp_path / "supervised", config, Store.open(mosaics), torch.device("cpu"))
    assert training.steps * training.batch == pytest.approx(config.epochs * config.images, abs=training.batch)


#: The row as people ask for it, but saving after every step, so that there is a middle to kill it in.
SLOW = """
import sys
from training import run
from training.probe import supervised
supervised.CHECKPOINT_MINUTES = 0
sys.exit(run.main(["evaluate", sys.argv[1], "--rows", "supervised", "--run", sys.argv[2]]))
"""


def test_killed_with_minus_9_it_goes_on_and_ends_as_an_unbroken_one(
    run: Path, tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
        shutil.copy(run / "config.json", tmp_path / name)
    evaluate = ["evaluate", str(tiles), "--rows", "supervised", "--run"]
    assert command.main([*evaluate, str(tmp_path / "unbroken")]) == 0
    asked = [sys.executable, "-c", SLOW, str(tiles)]
    killed = subprocess.Popen([*asked, str(tmp_path / "killed")], cwd=ROOT)
    folders = {name: tmp_path / name / "supervised" / "eurosat" for name in ("unbroken", "killed")}

    def has_begun() -> bool:
        assert killed.poll() is None
        return checkpoint.latest(folders["killed"]) is not None

    wait_until(has_begun)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "evaluation.json").exists()
    again = [*asked, str(tmp_path / "killed")]
    said = subprocess.run(again, check=True, cwd=ROOT, capture_output=True, text=True)
    assert "supervised: " in said.stderr
    assert "continues" in said.stderr
    ends = [checkpoint.latest(folder) for folder in folders.values()]
    assert ends[0] is not None
    assert ends[1] is not None
    one, other = load_file(ends[0][1]), load_file(ends[1][1])
    assert all(np.array_equal(one[name], other[name]) for name in one)
    figures = [json.loads((tmp_path / name / "evaluation.json").read_text()) for name in folders]
    assert figures[0] == figures[1]
    capsys.readouterr()
    assert command.main([*evaluate, str(tmp_path / "killed")]) == 0
    assert "supervised: " not in capsys.readouterr().err  # nothing is left to train
