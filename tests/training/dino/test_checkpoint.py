from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.dino import checkpoint


def test_a_checkpoint_that_was_cut_short_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path) is None
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"centre": torch.arange(9.0)})
    file = tmp_path / "step_00000002.safetensors"
    assert checkpoint.latest(tmp_path) == (2, file)
    whole = file.read_bytes()
    (tmp_path / "step_00000003.safetensors.new").write_bytes(whole)  # half-saved, and sent away so
    for length in (len(whole) - 1, 20, 4, 0):
        file.write_bytes(whole[:length])
        assert checkpoint.latest(tmp_path) == (1, tmp_path / "step_00000001.safetensors")


def test_in_a_job_old_checkpoints_become_empty_so_that_their_copies_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRAINING_JOB_NAME", "a job")
    for step in range(1, 5):
        checkpoint.save(tmp_path, step, {"centre": torch.arange(9.0)})
    assert [file.stat().st_size > 0 for file in sorted(tmp_path.iterdir())] == [False, False, True, True]
    assert checkpoint.latest(tmp_path) == (4, tmp_path / "step_00000004.safetensors")
    monkeypatch.delenv("TRAINING_JOB_NAME")
    checkpoint.save(tmp_path, 5, {"centre": torch.arange(9.0)})
    assert len(list(tmp_path.iterdir())) == 2
