"""Pretraining on many processes, started by torchrun as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.training.conftest import TINY
from training.dino import checkpoint
from training.runs import Run

EXACT = ("--backbone", "test_vit", "--dtype", "float64", "--batch", "25", "--optimizer", "adamw")  # shares of 12 and 13
FIFTY_STEPS = (*EXACT, "--epochs", "4.2")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def command(store: Path, run: Path, *more: str) -> list[str]:
    return [str(ROOT / "training/run.py"), "pretrain", str(store), "--run", str(run), *TINY, *more]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def alone(store: Path, run: Path, *more: str) -> None:
    subprocess.run([sys.executable, *command(store, run, *more)], check=True, env=environment())


def two(store: Path, run: Path, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    started = [*TORCHRUN, "--nproc-per-node", "2", "--", *command(store, run, *more)]
    return subprocess.run(started, env=environment(**variables), capture_output=True, text=True, check=False)


def losses(run: Path) -> dict[int, float]:
    return {record["step"]: record["loss"] for record in Run(run).metrics() if "loss" in record}


def weights(run: Path) -> dict[str, np.ndarray]:
    newest = checkpoint.latest(Run(run).checkpoints)
    assert newest is not None
    return load_file(newest[1])


def assert_close(one: Path, other: Path, relative: float) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert np.abs(a[name] - b[name]).max() <= relative * max(np.abs(a[name]).max(), 1e-3), name


@pytest.fixture(scope="module")
def unbroken(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some fifty steps of one process, in float64."""
    run = tmp_path_factory.mktemp("processes") / "unbroken"
    alone(tiles, run, *FIFTY_STEPS)
    return run


@pytest.mark.parametrize("targets", ["centred", "balanced"])
def test_two_processes_learn_what_one_learns_with_the_whole_batch(tiles: Path, tmp_path: Path, targets: str) -> None:
    more = (*FIFTY_STEPS, "--targets", targets)
    alone(tiles, tmp_path / "one", *more)
    done = two(tiles, tmp_path / "two", *more)
    assert done.returncode == 0, done.stderr
    assert "2 processes over gloo on cpu" in done.stderr
    one, other = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == other.keys()
    assert max(one) >= 50
    for step in one:
        assert abs(one[step] - other[step]) <= 1e-6 * one[step], step
    assert_close(tmp_path / "one", tmp_path / "two", 1e-6)


def test_a_run_goes_on_with_another_number_of_processes(tiles: Path, tmp_path: Path, unbroken: Path) -> None:
    stop_at_step(20, [sys.executable, *command(tiles, tmp_path / "run", *FIFTY_STEPS, "--checkpoint-minutes", "0")])
    done = two(tiles, tmp_path / "run", *FIFTY_STEPS)
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "run").keys() == losses(unbroken).keys()
    assert_close(unbroken, tmp_path / "run", 1e-6)


def stop_at_step(step: int, arguments: list[str]) -> None:
    """Runs until a checkpoint of this step or later is there, then kills with −9."""
    run = Run(Path(arguments[arguments.index("--run") + 1]))
    running = subprocess.Popen(arguments, env=environment())
    wait_for_step(run, step, running)
    running.kill()
    running.wait()


def wait_for_step(run: Run, step: int, running: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while (newest := checkpoint.latest(run.checkpoints)) is None or newest[0] < step:
        assert running.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def workers_of(running: subprocess.Popen[str]) -> list[int]:
    """Process numbers of what torchrun started, first rank first."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return [int(child) for child in children if b"pretrain" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_worker_killed_with_minus_9_is_started_again_and_the_end_is_that_of_the_unbroken_run(
    tiles: Path, tmp_path: Path
) -> None:
    assert two(tiles, tmp_path / "unbroken", *FIFTY_STEPS).returncode == 0
    started = [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "2", "--"]
    started += command(tiles, tmp_path / "run", *FIFTY_STEPS, "--checkpoint-minutes", "0")
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(started, env=environment(), stderr=log, text=True)
    wait_for_step(Run(tmp_path / "run"), 15, running)
    os.kill(workers_of(running)[1], signal.SIGKILL)
    assert running.wait(240) == 0, (tmp_path / "log").read_text()
    assert "continues" in (tmp_path / "log").read_text()
    assert losses(tmp_path / "run") == losses(tmp_path / "unbroken")
    one, other = weights(tmp_path / "unbroken"), weights(tmp_path / "run")
    for name in one:
        assert np.array_equal(one[name], other[name]), name


def test_sigterm_to_one_of_two_processes_saves_and_ends_both(tiles: Path, tmp_path: Path, unbroken: Path) -> None:
    started = [*TORCHRUN, "--nproc-per-node", "2", "--", *command(tiles, tmp_path / "run", *FIFTY_STEPS)]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(started, env=environment(), stderr=log, text=True)
    end = time.monotonic() + 180
    while not losses(tmp_path / "run"):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(workers_of(running)[1], signal.SIGTERM)
    assert running.wait(30) != 0
    assert set(re.findall(r"exitcode\s*: (-?\d+)", (tmp_path / "log").read_text())) == {"143"}
    newest = checkpoint.latest(Run(tmp_path / "run").checkpoints)
    assert newest is not None
    assert newest[0] < 50
    assert two(tiles, tmp_path / "run", *FIFTY_STEPS).returncode == 0
    assert {s: round(v, 9) for s, v in losses(tmp_path / "run").items()} == {
        s: round(v, 9) for s, v in losses(unbroken).items()
    }


def test_smddp_is_imported_initialised_and_reduced_through(
    tiles: Path, tmp_path: Path, smddp: Path, unbroken: Path
) -> None:
    more = (*FIFTY_STEPS, "--backend", "smddp")
    done = two(tiles, tmp_path / "run", *more, PYTHONPATH=str(smddp), STAND_IN_CALLS=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "2 processes over smddp" in done.stderr
    for rank in (0, 1):
        calls = [line.split() for line in (tmp_path / f"{rank}.txt").read_text().splitlines()]
        reduced = sum(int(size) for call, *sizes in calls if call == "allreduce" for size in sizes)
        assert reduced > 50 * 500_000  # the gradients of each step
    assert_close(unbroken, tmp_path / "run", 1e-6)


def test_what_the_first_process_cannot_do_ends_all_with_its_words(tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = two(tiles, tmp_path / "file" / "run", *FIFTY_STEPS)
    assert done.returncode == 1
    assert done.stderr.count(f"Not a directory: '{tmp_path / 'file' / 'run'}'") == 2
