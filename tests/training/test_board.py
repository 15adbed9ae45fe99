from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import ROOT
from training.board import Board


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a folder: for each name its steps and values."""
    events = EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, round(e.value, 4)) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def next_run(folder: Path, from_step: int) -> Board:
    """A run's board, begun in a later second than the last: TensorBoard reads a folder's files in that order."""
    time.sleep(1)
    return Board(folder, from_step)


def test_records_are_drawn_under_their_names(tmp_path: Path) -> None:
    board = Board(tmp_path, 0)
    board.add({"step": 0, "epoch": 0.0, "store": "eurosat", "knn_accuracy": 0.5})
    board.add({"step": 10, "epoch": 0.5, "loss": 8.0, "entropy": 7.0})
    board.close()
    assert logged(tmp_path) == {"knn_accuracy/eurosat": [(0, 0.5)], "loss": [(10, 8.0)], "entropy": [(10, 7.0)]}


def test_a_run_that_goes_on_from_its_checkpoint_is_drawn_once(tmp_path: Path) -> None:
    killed = Board(tmp_path, 0)
    for step in (10, 20, 30):
        killed.add({"step": step, "loss": float(step)})  # no close: kill -9
    resumed = next_run(tmp_path, 20)
    resumed.add({"step": 30, "loss": 3.0})
    resumed.close()
    assert logged(tmp_path)["loss"] == [(10, 10.0), (20, 20.0), (30, 3.0)]


def test_a_run_begun_anew_forgets_what_was_drawn_before_its_first_checkpoint(tmp_path: Path) -> None:
    Board(tmp_path, 0).add({"step": 0, "store": "tiles", "knn_accuracy": 0.1})
    again = next_run(tmp_path, 0)
    again.add({"step": 0, "store": "tiles", "knn_accuracy": 0.2})
    again.close()
    assert logged(tmp_path) == {"knn_accuracy/tiles": [(0, 0.2)]}


def test_without_tensorboard_nothing_is_written_and_nothing_fails(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
sys.modules["tensorboard"] = None  # importing it fails
from training.board import Board
board = Board(Path({str(tmp_path / "board")!r}), 0)
board.add({{"step": 1, "loss": 2.0}})
board.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert not (tmp_path / "board").exists()
