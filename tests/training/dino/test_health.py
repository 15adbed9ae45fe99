from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.conftest import TINY
from training.dino import checkpoint
from training.dino.health import PATIENCE, Diverged, Health
from training.runs import Run

WELL = {"step": 10.0, "loss": 5.0, "entropy": 2.0, "feature_std": 0.5}


def test_a_loss_that_is_no_number_stops_the_run_at_once() -> None:
    with pytest.raises(Diverged, match=r"step 10\.0: .*NaN.* --learning-rate"):
        Health(4096).check(WELL | {"loss": math.nan}, warming_up=True)


@pytest.mark.parametrize(
    ("ill", "said"),
    [({"feature_std": 0.001}, "collapsed.* --targets"), ({"loss": math.log(4096)}, r"ln\(prototypes\) = 8\.32.*fewer")],
)
def test_what_stays_ill_for_long_stops_the_run(ill: dict[str, float], said: str) -> None:
    health = Health(4096)
    for _ in range(PATIENCE - 1):
        health.check(WELL | ill)
    with pytest.raises(Diverged, match=said):
        health.check(WELL | ill)


def test_a_run_that_recovers_or_only_warms_up_goes_on() -> None:
    health = Health(4096)
    for record in [WELL | {"loss": 8.3177, "feature_std": 0.001}] * (PATIENCE - 1) + [WELL]:
        health.check(record)
    for _ in range(2 * PATIENCE):
        health.check(WELL | {"loss": 8.3177}, warming_up=True)
    health.check(WELL | {"loss": 8.3177})


def test_one_prototype_for_all_images_is_a_collapse_though_their_features_differ() -> None:
    health = Health(4096)
    with pytest.raises(Diverged, match="collapsed"):
        for _ in range(PATIENCE):
            health.check(WELL | {"loss": 1e-5, "entropy": 0.0})


def test_a_run_without_hope_ends_with_1_and_advice_and_saves_nothing_of_it(tiles: Path, tmp_path: Path) -> None:
    run, wild = tmp_path / "run", ("--learning-rate", "1e30", "--warm-up-epochs", "0", "--dtype", "float32")
    command = [sys.executable, str(ROOT / "training/run.py"), "pretrain", str(tiles), "--run", str(run)]
    arguments = [*command, *TINY, "--optimizer", "adamw", "--checkpoint-minutes", "0", *wild]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Diverged: step 10: the loss is no number" in done.stderr
    assert "--learning-rate" in done.stderr
    assert checkpoint.latest(Run(run).checkpoints) is None
