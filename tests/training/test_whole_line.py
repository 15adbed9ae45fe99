"""From a folder of tiles to an answer over HTTP, with every command as people type it."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from service.model.artifact import INT8, load
from service.model.engine import choose
from tests.conftest import ROOT, StartService
from tests.imagery import geotiff
from tests.training.conftest import TINY
from tests.waiting import wait_until
from training import int8
from training import run as command
from training.dino import checkpoint
from training.runs import Run
from training.stores.store import Store


@pytest.fixture(scope="module")
def run(tiles: Path, mosaics: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that went through every command."""
    folder = tmp_path_factory.mktemp("runs") / "line"
    asked = [
        ["pretrain", str(tiles), *TINY],
        ["probe", str(mosaics)],
        ["evaluate", str(tiles), str(mosaics)],
        ["package", "--name", "line", "--version", "7", "--description", "A test.", "--divisor", "2000"],
    ]
    for arguments in asked:
        assert command.main([*arguments, "--run", str(folder)]) == 0
    return folder


def test_the_artifact_says_what_it_was_trained_and_measured_on(run: Path, mosaics: Path) -> None:
    manifest = load(run / "artifact").manifest
    assert (manifest.name, manifest.version, manifest.description) == ("line", "7", "A test.")
    assert manifest.input.bands == ("B04", "B03", "B02")
    assert (manifest.input.patch_px, manifest.input.divisor) == (120, 2000)
    assert [label.name for label in manifest.labels] == list(Store.open(mosaics).card.labels)
    supervision = {label.name: label.supervision for label in manifest.labels}
    assert supervision["Urban fabric"] == ("direct",)
    assert supervision["Inland waters"] == ("direct", "group")
    assert supervision["Marine waters"] == supervision["Mixed forest"] == ("group",)
    assert supervision["Agro-forestry areas"] == ()
    assert [group.name for group in manifest.groups] == ["Forest (any)", "Water (any)"]
    assert all(label.threshold is not None for label in manifest.labels if label.is_answered)
    assert manifest.training.epochs == 2
    assert {entry["store"] for entry in manifest.metrics} == {"eurosat", "eurosat-mosaics"}
    measured = next(entry for entry in manifest.metrics if "macro" in entry)
    assert manifest.labels[0].average_precision == measured["per_label"]["Urban fabric"]
    assert measured["calibration"].keys() == {"ece_before", "ece_after"}  # the curves stay in the run
    low, high = measured["per_label_interval"]["Urban fabric"]
    card = (run / "artifact" / "card.md").read_text()
    assert f"| {manifest.labels[0].average_precision:.3f} ({low:.3f}–{high:.3f}) |" in card
    assert "expected calibration error" in card
    assert "Never seen, null in answers: Complex cultivation patterns" in card
    assert (run / "artifact" / "report" / "curve.png").read_bytes() == (run / "curve.png").read_bytes()


def test_the_table_has_a_row_for_each_representation_and_ours_is_no_constant(run: Path) -> None:
    entries = json.loads((run / "evaluation.json").read_text())
    rows = {entry["representation"] for entry in entries}
    assert rows == {"image statistics", "untrained", "line"}
    for entry in entries:
        if "linear_accuracy" in entry:  # the tiles of a class differ by colour and stripes alone
            assert entry["linear_accuracy"] > 0.5
            assert entry["knn_accuracy"] > 0.5


def test_the_service_answers_with_the_embedding_that_evaluate_computed(
    run: Path, mosaics: Path, start: StartService
) -> None:
    exact, usual = start(run / "artifact"), start(run / "artifact", ENGINE="auto")
    store = Store.open(mosaics)
    from training.probe.features import cached
    from training.probe.train import teacher

    kept = cached(teacher(Run(run), "cls"), store, run / "features")
    for service, i in itertools.product((exact, usual), (0, 11, 150)):
        service.wait_until_ready()
        answer = service.post(geotiff(store.images[i].transpose(2, 0, 1))).json()["predictions"][0]
        embedding = np.asarray(answer["embedding"])
        cosine = embedding @ kept[i] / np.linalg.norm(embedding) / np.linalg.norm(kept[i])
        assert cosine >= (0.99999 if service is exact else 0.999)
        assert answer["probabilities"]["Urban fabric"] is not None
        assert answer["probabilities"]["Marine waters"] is None
        assert set(answer["groups"]) == {"Forest (any)", "Water (any)"}


def test_int8_is_packaged_where_it_answers_as_float32_does_and_left_out_where_not(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = ["package", "--run", str(run), "--name", "line", "--out"]
    monkeypatch.setattr(int8, "AVERAGE_PRECISION", 1)  # a few images are no measure of it
    assert command.main([*package, str(tmp_path / "close")]) == 0
    assert "int8 packaged: on " in capsys.readouterr().out
    close = load(tmp_path / "close")
    (engine,) = close.manifest.engines
    assert 0.99 <= engine.cosine_min <= engine.cosine_mean <= 1.000001
    assert 0 < engine.probability_difference < 0.5
    assert INT8 in close.manifest.files
    assert "int8" in choose(close, 1, "openvino-int8").name

    monkeypatch.setattr(int8, "COSINE_MEAN", 1.1)
    assert command.main([*package, str(tmp_path / "far")]) == 0
    assert "which is too far" in capsys.readouterr().out
    far = load(tmp_path / "far").manifest
    assert not far.engines and INT8 not in far.files


def test_probe_killed_with_minus_9_goes_on_and_ends_as_an_unbroken_one(
    run: Path, mosaics: Path, tmp_path: Path
) -> None:
    for name in ("unbroken", "killed"):
        (tmp_path / name).mkdir()
        shutil.copy(run / "config.json", tmp_path / name)
        shutil.copytree(run / "checkpoints", tmp_path / name / "checkpoints")
    probe = [sys.executable, "-c", SLOW_PROBE, str(mosaics), "--run"]
    subprocess.run([*probe, str(tmp_path / "unbroken")], check=True, cwd=ROOT)
    killed = subprocess.Popen([*probe, str(tmp_path / "killed")], cwd=ROOT)

    def has_begun() -> bool:
        assert killed.poll() is None
        return any((tmp_path / "killed").glob("features/*.json"))

    wait_until(has_begun)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed" / "probe" / "probe.json").exists()
    again = subprocess.run([*probe, str(tmp_path / "killed")], check=True, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert "continues" in again.stderr
    one, other = (tmp_path / name / "probe" / "head.safetensors" for name in ("unbroken", "killed"))
    assert one.read_bytes() == other.read_bytes()


#: The probe as people run it, but saving its features after every batch, so that there is a middle to kill it in.
SLOW_PROBE = """
import sys
from training import run
from training.probe import features
features.SAVE_EVERY = features.BATCH
sys.exit(run.main(["probe", *sys.argv[1:]]))
"""


def test_a_probe_or_an_evaluation_of_other_weights_is_not_packaged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    package = ["package", "--run", str(copy), "--name", "copy"]
    assert command.main(package) == 0  # under another name, and over the artifact that it had
    assert len(load(copy / "artifact").manifest.metrics) == 2
    entries = json.loads((copy / "evaluation.json").read_text())
    (copy / "evaluation.json").write_text(json.dumps([{**entry, "key": "other"} for entry in entries]))
    assert command.main(package) == 1
    assert "run evaluate again" in capsys.readouterr().err
    (copy / "evaluation.json").write_text(json.dumps([{**entry, "fit": "reference"} for entry in entries]))
    assert command.main(package) == 1
    assert "run evaluate again" in capsys.readouterr().err
    newest = checkpoint.latest(copy / "checkpoints")
    assert newest is not None
    weights = load_file(newest[1])
    weights["teacher.backbone.cls_token"] += 1
    save_file(weights, newest[1])
    assert command.main(package) == 1
    assert "run probe again" in capsys.readouterr().err


def test_labels_that_never_reach_a_precision_are_packaged_without_a_threshold(
    run: Path, mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    head = json.loads((copy / "probe" / "probe.json").read_text())["head_sha256"]
    assert command.main(["probe", str(mosaics), "--run", str(copy), "--precision", "0.999"]) == 0
    probe = json.loads((copy / "probe" / "probe.json").read_text())
    assert (probe["precision"], probe["head_sha256"]) == (0.999, head)
    probe["labels"][0]["threshold"] = None  # whatever this run can tell
    (copy / "probe" / "probe.json").write_text(json.dumps(probe))
    assert command.main(["package", "--run", str(copy), "--name", "copy"]) == 0
    assert load(copy / "artifact").manifest.labels[0].threshold is None
    assert "never listed, for lack of a threshold: Urban fabric" in (copy / "artifact" / "card.md").read_text()
    with pytest.raises(SystemExit):
        command.main(["probe", str(mosaics), "--run", str(copy), "--precision", "90"])
    assert "90 is not over 0 and up to 1" in capsys.readouterr().err


def test_a_store_of_other_bands_is_refused(
    run: Path, mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Path(shutil.copytree(mosaics, tmp_path / "store"))
    (store / "store.json").write_text((store / "store.json").read_text().replace("B04", "B08"))
    for name in ("probe", "evaluate"):
        assert command.main([name, str(store), "--run", str(run)]) == 1
        assert "holds B08, B03, B02, but the run reads B04, B03, B02" in capsys.readouterr().err


def test_a_step_that_lacks_the_one_before_says_so(
    tiles: Path, mosaics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["probe", str(mosaics), "--run", str(tmp_path)]) == 1
    assert command.main(["package", "--name", "x", "--run", str(tmp_path)]) == 1
    assert command.main(["pretrain", str(tiles / "missing"), "--run", str(tmp_path)]) == 1
    assert command.main(["prepare", "eurosat", str(tmp_path), "--out", str(tmp_path / "x")]) == 1
    said = capsys.readouterr().err
    assert "is no run: pretrain makes one" in said
    assert "is no store" in said
    assert "no EuroSAT tiles" in said
    assert "Traceback" not in said
