"""Pretraining on many processes, started by torchrun as users start it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conftest import ROOT
from tests.training.conftest import TINY
from tests.waiting import wait_until
from training.dino import checkpoint
from training.run import main
from training.runs import Run

EXACT = ("--backbone", "test_vit", "--dtype", "float64", "--batch", "25", "--optimizer", "adamw")  # shares of 12 and 13
FIFTY_STEPS = (*EXACT, "--epochs", "4.2")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def command(store: Path, run: Path, *more: str) -> list[str]:
    return [str(ROOT / "training/run.py"), "pretrain", str(store), "--run", str(run), *TINY, *more]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def alone(store: Path, run: Path, *more: str) -> None:
    assert main(command(store, run, *more)[1:]) == 0


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


@pytest.fixture(scope="module")
def unbroken_by_two(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same steps of two."""
    run = tmp_path_factory.mktemp("processes") / "two"
    done = two(tiles, run, *FIFTY_STEPS)
    assert done.returncode == 0, done.stderr
    assert "2 processes over gloo on cpu" in done.stderr
    return run


def assert_the_same(one: Path, other: Path) -> None:
    """To rounding, step by step."""
    expected, found = losses(one), losses(other)
    assert expected.keys() == found.keys()
    assert max(expected) >= 50
    for step in expected:
        assert abs(expected[step] - found[step]) <= 1e-6 * expected[step], step
    assert_close(one, other, 1e-6)


def test_two_processes_learn_what_one_learns_with_the_whole_batch(unbroken: Path, unbroken_by_two: Path) -> None:
    assert_the_same(unbroken, unbroken_by_two)


def test_they_do_so_with_centred_targets_too(tiles: Path, tmp_path: Path) -> None:
    more = (*FIFTY_STEPS, "--targets", "centred")
    alone(tiles, tmp_path / "one", *more)
    assert two(tiles, tmp_path / "two", *more).returncode == 0
    assert_the_same(tmp_path / "one", tmp_path / "two")


def test_a_run_goes_on_with_another_number_of_processes(tiles: Path, tmp_path: Path, unbroken: Path) -> None:
    stop_at_step(5, [sys.executable, *command(tiles, tmp_path / "run", *FIFTY_STEPS, "--checkpoint-minutes", "0")])
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
    def has_come() -> bool:
        assert running.poll() is None
        newest = checkpoint.latest(run.checkpoints)
        return newest is not None and newest[0] >= step

    wait_until(has_come)


def workers_of(running: subprocess.Popen[str]) -> list[int]:
    """Process numbers of what torchrun started, first rank first."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    return [int(child) for child in children if b"pretrain" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_worker_killed_with_minus_9_is_started_again_and_the_end_is_that_of_the_unbroken_run(
    tiles: Path, tmp_path: Path, unbroken_by_two: Path
) -> None:
    started = [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "2", "--"]
    started += command(tiles, tmp_path / "run", *FIFTY_STEPS, "--checkpoint-minutes", "0")
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(started, env=environment(), stderr=log, text=True)
    wait_for_step(Run(tmp_path / "run"), 5, running)
    os.kill(workers_of(running)[1], signal.SIGKILL)
    assert running.wait(600) == 0, (tmp_path / "log").read_text()
    assert "continues" in (tmp_path / "log").read_text()
    assert losses(tmp_path / "run") == losses(unbroken_by_two)
    one, other = weights(unbroken_by_two), weights(tmp_path / "run")
    for name in one:
        assert np.array_equal(one[name], other[name]), name


#: Processes whose steps take no time ask each other whether to stop every fifty steps, which is all there are here.
ASKING_OFTEN = """
import sys
from training import run, stopping
stopping.LOOK_EVERY_STEPS = 5
sys.exit(run.main(sys.argv[1:]))
"""


def test_sigterm_to_one_of_two_processes_saves_and_ends_both(tiles: Path, tmp_path: Path, unbroken: Path) -> None:
    (tmp_path / "asking_often.py").write_text(ASKING_OFTEN)
    asked = [str(tmp_path / "asking_often.py"), *command(tiles, tmp_path / "run", *FIFTY_STEPS)[1:]]
    started = [*TORCHRUN, "--nproc-per-node", "2", "--", *asked]
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(started, env=environment(PYTHONPATH=str(ROOT)), stderr=log, text=True)
    wait_until(lambda: losses(tmp_path / "run"))
    os.kill(workers_of(running)[1], signal.SIGTERM)
    assert running.wait(120) != 0
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
