from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.training.conftest import TINIEST
from tests.waiting import wait_until
from training import run as command
from training.dino import checkpoint
from training.dino.chance import Chance
from training.dino.pretrain import seed_of_step
from training.runs import Run
from training.stores.store import Card, Entry, Row, Source, write


def pretrain(store: Path, run: Path, *more: str) -> list[str]:
    return [sys.executable, str(ROOT / "training/run.py"), "pretrain", str(store), "--run", str(run), *TINIEST, *more]


def records(run: Path) -> list[dict[str, float]]:
    """metrics.jsonl without the speed."""
    return [{key: value for key, value in record.items() if key != "images_per_s"} for record in Run(run).metrics()]


def test_a_run_leaves_config_metrics_curve_and_a_checkpoint(tiles: Path, tmp_path: Path) -> None:
    assert command.main(["pretrain", str(tiles), "--run", str(tmp_path / "run"), *TINIEST]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["stores"] == ["eurosat"]
    assert 300 < config["images"] < 340  # four fifths of 400: the test split is left out
    last = [record for record in records(tmp_path / "run") if "loss" in record][-1]
    steps = 2 * (config["images"] // 24)
    assert last["step"] == steps
    assert 0 < last["loss"] < 2 * np.log(64)
    assert [record["epoch"] for record in records(tmp_path / "run") if "knn_accuracy" in record] == [0, 1, 2]
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest[0] == steps
    teacher = checkpoint.teacher_backbone(newest[1])
    assert teacher["pos_embed"].shape == (1, 17, 64)


def test_killed_with_minus_9_it_goes_on_and_ends_as_an_unbroken_run(tiles: Path, tmp_path: Path) -> None:
    assert command.main(["pretrain", str(tiles), "--run", str(tmp_path / "unbroken"), *TINIEST]) == 0
    killed = subprocess.Popen(pretrain(tiles, tmp_path / "killed", "--checkpoint-minutes", "0"))

    def has_begun() -> bool:
        assert killed.poll() is None
        newest = checkpoint.latest(tmp_path / "killed" / "checkpoints")
        return newest is not None and newest[0] >= 3

    wait_until(has_begun)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    again = subprocess.run(pretrain(tiles, tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert "continues" in again.stderr
    ends = [checkpoint.latest(tmp_path / name / "checkpoints") for name in ("unbroken", "killed")]
    assert ends[0] is not None
    assert ends[1] is not None
    one, other = load_file(ends[0][1]), load_file(ends[1][1])
    assert one.keys() == other.keys()
    for name in one:
        assert np.array_equal(one[name], other[name]), name
    assert records(tmp_path / "unbroken") == records(tmp_path / "killed")


def test_killed_before_its_first_checkpoint_or_called_again_a_run_logs_nothing_twice(
    tiles: Path, tmp_path: Path
) -> None:
    whole = ["pretrain", str(tiles), "--run", str(tmp_path / "whole"), *TINIEST, "--epochs", "1"]
    assert command.main(whole) == 0
    expected = records(tmp_path / "whole")
    assert command.main(whole) == 0
    assert records(tmp_path / "whole") == expected
    (tmp_path / "killed").mkdir()
    for name in ("config.json", "metrics.jsonl"):  # as a run leaves it that was killed after its first records
        lines = (tmp_path / "whole" / name).read_text().splitlines(keepends=True)
        (tmp_path / "killed" / name).write_text("".join(lines if name == "config.json" else lines[:2]))
    assert command.main([*whole[:3], str(tmp_path / "killed"), *TINIEST, "--epochs", "1"]) == 0
    assert records(tmp_path / "killed") == expected


def test_every_step_and_seed_draws_its_own() -> None:
    drawn = {
        float(Chance(seed_of_step(seed, step), torch.device("cpu")).uniform(0, 1, 1))
        for seed in range(10)
        for step in range(50)
    }
    assert len(drawn) > 490


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--backbone", "vit_colossal"), "timm has no model 'vit_colossal'"),
        (("--backbone", "resnet18"), "timm cannot build resnet18"),
        (("--batch", "1000"), "lower --batch"),
        (("--local-px", "10"), "local_px 10 is no multiple of the patch size 8"),
        (("--splits", "trian"), "no split is called trian"),
        (("--warm-up-epochs", "2"), "2 epochs leave nothing to learn after a warm-up of 2"),
        (("--epochs", "0.01"), "leave nothing to learn"),
        (("--splits", "none"), "0 images"),
        pytest.param(
            ("--optimizer", "muon"),
            "has no Muon",
            marks=pytest.mark.skipif(hasattr(torch.optim, "Muon"), reason="this torch has Muon"),
        ),
    ],
)
def test_what_cannot_learn_is_refused_before_anything_is_written(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert command.main(["pretrain", str(tiles), "--run", str(tmp_path / "run"), *TINIEST, *more]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_store_without_validation_images_is_learnt_from_unwatched(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    rows = tuple(Row(str(i), "train", ("a",)) for i in range(48))
    images = tuple(chance.integers(0, 256, (48, 32, 32, 3), np.uint8))
    card = Card("own", (32, 32, 3), ("B04", "B03", "B02"), 10, {"divisor": 2000}, ("a",))
    write(tmp_path / "store", Source(card, ["all"], lambda _: [Entry("all", images, rows)]))
    assert command.main(["pretrain", str(tmp_path / "store"), "--run", str(tmp_path / "run"), *TINIEST]) == 0
    assert all("loss" in record for record in records(tmp_path / "run"))


def test_sigterm_saves_and_ends_with_143(tiles: Path, tmp_path: Path) -> None:
    running = subprocess.Popen(pretrain(tiles, tmp_path / "run", "--epochs", "1000"))
    wait_until(lambda: len(Run(tmp_path / "run").metrics()) >= 3)
    running.terminate()
    assert running.wait(120) == 143
    assert checkpoint.latest(tmp_path / "run" / "checkpoints") is not None


def test_a_run_is_not_continued_with_another_configuration(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["pretrain", str(tiles), "--run", str(tmp_path / "run"), *TINIEST]
    assert command.main([*arguments, "--epochs", "0.5"]) == 0
    assert command.main([*arguments, "--epochs", "0.5", "--momentum", "0.9"]) == 1
    assert "momentum was 0.99, now 0.9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more", [("--optimizer", "adamw", "--targets", "centred", "--recipe", "reference"), ("--local-crops", "0")]
)
def test_other_ways_to_learn_run_too(tiles: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert command.main(["pretrain", str(tiles), "--run", str(tmp_path), *TINIEST, "--epochs", "0.4", *more]) == 0
    assert all(np.isfinite(record["loss"]) for record in records(tmp_path) if "loss" in record)


def test_preparing_eurosat_and_pretraining_need_no_rasterio(tiles: Path, tmp_path: Path) -> None:
    eurosat = tiles.parent / "eurosat"
    code = f"""
import sys
sys.modules["rasterio"] = None  # importing it fails
from training import run
assert run.main(["prepare", "eurosat", {str(eurosat)!r}, "--out", {str(tmp_path / "store")!r}]) == 0
arguments = ["pretrain", {str(tmp_path / "store")!r}, "--run", {str(tmp_path / "run")!r}]
assert run.main([*arguments, *{TINIEST!r}, "--epochs", "0.2"]) == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_help_of_every_command_answers_without_importing_torch() -> None:
    for name in ("prepare", "pretrain", "probe", "evaluate", "report", "package"):
        code = f"""
import sys
from training import run
try:
    run.main([{name!r}, "--help"])
except SystemExit as end:
    assert end.code == 0
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""
        done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
        assert done.stdout.startswith(f"usage: training/run.py {name}")
