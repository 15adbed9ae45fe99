"""Where a run cannot be kept, it says so before it learns anything."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.training.conftest import TINY


def pretrain(store: Path, run: Path, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, str(ROOT / "training/run.py"), "pretrain", str(store), "--run", str(run), *TINY]
    return subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)


def test_no_room_for_a_checkpoint_is_told_before_the_first_step(tiles: Path, tmp_path: Path) -> None:
    done = pretrain(tiles, tmp_path / "run", largest_file=5_000_000)
    assert done.returncode == 1
    assert f"{tmp_path / 'run' / 'checkpoints'}: no room for a checkpoint of " in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_before_the_first_step(tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = pretrain(tiles, tmp_path / "file" / "run")
    assert done.returncode == 1
    assert f"Not a directory: '{tmp_path / 'file' / 'run'}'" in done.stderr


def test_a_disk_that_fills_up_later_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    import torch

    from training.dino import checkpoint

    parts = {"weights": torch.arange(100_000)}
    checkpoint.save(tmp_path, 1, parts)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(Exception, match=r"File too large|os error 27"):
            checkpoint.save(tmp_path, 2, parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    parts["weights"].zero_()
    assert checkpoint.restore(newest[1].read_bytes(), parts) == 1
    assert torch.equal(parts["weights"], torch.arange(100_000))
