"""Checkpoints of pretraining: one safetensors file each, whole or not there, under the step it was taken at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.files import replacing

KEPT = 2

Parts = Mapping[str, torch.nn.Module | torch.optim.Optimizer]


def save(folder: Path, step: int, parts: Parts, centre: Tensor) -> None:
    """Everything that the next step depends on; random draws depend on the step alone and need no saving."""
    tensors = {"centre": centre}
    for name, part in parts.items():
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
        old.unlink()


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and file of the newest checkpoint; None before the first."""
    found = sorted(folder.glob("step_*.safetensors"))
    return (int(found[-1].stem.removeprefix("step_")), found[-1]) if found else None


def restore(file: Path, parts: Parts) -> Tensor:
    """Puts every part back as it was and returns the centre."""
    tensors = load_file(file)
    for name, part in parts.items():
        own = _below(tensors, name)
        if isinstance(part, torch.nn.Module):
            part.load_state_dict(own)
            continue
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in own.items():
            index, _, field = key.partition(".")
            state.setdefault(int(index), {})[field] = tensor
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
    return tensors["centre"]


def teacher_backbone(file: Path) -> dict[str, Tensor]:
    """Weights of the teacher's backbone under timm's names."""
    return _below(load_file(file), "teacher.backbone")


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
