"""Checkpoints of pretraining: one safetensors file each, whole or not there, under the step it was taken at."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, load_file, save_file
from torch import Tensor

from training.files import replacing

KEPT = 2
LONGEST_HEADER = 100_000_000  # bytes, of safetensors

Parts = Mapping[str, torch.nn.Module | torch.optim.Optimizer | Tensor]


def save(folder: Path, step: int, parts: Parts) -> None:
    """Everything that the next step depends on; random draws depend on the step alone and need no saving."""
    tensors = {"step": torch.tensor(step)}
    for name, part in parts.items():
        if isinstance(part, Tensor):
            tensors[name] = part
            continue
        if isinstance(part, torch.nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            continue
        for index, state in part.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    for unfinished in folder.glob("*.new"):  # of a run that was killed while it saved
        unfinished.unlink()
    with replacing(folder / f"step_{step:08d}.safetensors") as unfinished:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, unfinished)
    for old in sorted(folder.glob("step_*.safetensors"))[:-KEPT]:
        _forget(old)


def _forget(old: Path) -> None:
    """In a job of SageMaker by emptying it: its copy in S3 follows a file that changes, but stays for one that goes."""
    if "TRAINING_JOB_NAME" not in os.environ:
        old.unlink()
    elif old.stat().st_size:
        old.write_bytes(b"")


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and file of the newest checkpoint that is whole; None before the first."""
    for file in sorted(folder.glob("step_*.safetensors"), reverse=True):
        if _is_whole(file):
            return int(file.stem.removeprefix("step_")), file
    return None


def _is_whole(file: Path) -> bool:
    """False for what was cut short on its way from elsewhere: safetensors tells at its start how long it is."""
    with file.open("rb") as opened:
        size = opened.read(8)
        length = int.from_bytes(size, "little")
        header = opened.read(min(length, LONGEST_HEADER))
    if len(size) < 8 or len(header) < length:
        return False
    ends = [tensor["data_offsets"][1] for name, tensor in json.loads(header).items() if name != "__metadata__"]
    return file.stat().st_size == 8 + length + max(ends, default=0)


def restore(saved: bytes, parts: Parts) -> int:
    """Puts every part back as it was and returns the step."""
    tensors = load(saved)
    for name, part in parts.items():
        if isinstance(part, Tensor):
            part.copy_(tensors[name])
            continue
        own = _below(tensors, name)
        if isinstance(part, torch.nn.Module):
            part.load_state_dict(own)
            continue
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in own.items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    return int(tensors["step"])


def require_room(folder: Path, parts: Parts) -> None:
    """Raises OSError unless a file of a checkpoint's size can be written into the folder, beside those kept."""
    networks = [part for part in parts.values() if isinstance(part, torch.nn.Module)]
    parameters = [p for network in networks for p in network.parameters()]
    # An optimiser keeps two more numbers for each that is trained.
    size = sum(p.numel() * p.element_size() * (3 if p.requires_grad else 1) for p in parameters)
    folder.mkdir(parents=True, exist_ok=True)
    trial = folder / "room.new"
    try:
        with trial.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        raise OSError(f"{folder}: no room for a checkpoint of {size / 1e6:.0f} MB ({error.strerror})") from None
    finally:
        trial.unlink(missing_ok=True)


def teacher_backbone(file: Path) -> dict[str, Tensor]:
    """Weights of the teacher's backbone under timm's names."""
    return _below(load_file(file), "teacher.backbone")


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
