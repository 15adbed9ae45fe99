"""Weights of backbones that were trained elsewhere, or here, under timm's names, whatever file they come in.

Read are checkpoints of facebookresearch/dino (.pth with `student` and `teacher`), bare state dicts (.pth, as its
published backbones), .safetensors files, among them our own checkpoints, and what timm has weights of by name
(vit_small_patch16_224.dino). Nothing is unpickled but tensors.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from service.model import backbone
from service.model.manifest import BackboneSpec

FILES = (".pth", ".pt", ".safetensors")
#: timm's name of the transformer of a width, with 64 dimensions a head.
NAMES = {
    192: "vit_tiny_patch16_224", 384: "vit_small_patch16_224", 768: "vit_base_patch16_224",
    1024: "vit_large_patch16_224",
}  # fmt: skip


def read(source: str | Path, part: str = "teacher") -> dict[str, Tensor]:
    """A backbone's weights, without any head, from a file (one of FILES) or by a name of timm's.

    `part` is the network to take, teacher or student, where a file has both. Raises FileNotFoundError, and
    ValueError for a file without a backbone's weights and for a name that timm has no weights of.
    """
    if Path(source).suffix not in FILES:
        return _of_timm(str(source))
    file = Path(source)
    content = _tensors_of(file) if file.suffix == ".safetensors" else _unpickled(file)
    if isinstance(content.get(part), Mapping):  # the reference's
        content = content[part]
    elif ours := {k.removeprefix(f"{part}."): v for k, v in content.items() if k.startswith(f"{part}.")}:
        content = ours
    if strangers := [str(name) for name, value in content.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{file} holds neither a {part} nor tensors alone: {', '.join(strangers[:5])}")
    named = {re.sub(r"^module\.", "", name): tensor for name, tensor in content.items()}
    weights = {re.sub(r"^backbone\.", "", k): v for k, v in named.items() if not k.startswith("head.")}
    if not weights:
        raise ValueError(f"{file} holds no weights of a backbone")
    return weights


def spec_of(weights: Mapping[str, Tensor]) -> BackboneSpec:
    """What their shapes tell: a plain vision transformer of a usual width (NAMES). Raises ValueError for others."""
    if missing := {"cls_token", "pos_embed", "patch_embed.proj.weight"} - weights.keys():
        raise ValueError(f"weights without {min(missing)} are of no vision transformer")
    dim, patch_size = weights["cls_token"].shape[-1], weights["patch_embed.proj.weight"].shape[-1]
    if dim not in NAMES:
        raise ValueError(f"no vision transformer known here is {dim} wide, only {', '.join(map(str, NAMES))}")
    return BackboneSpec(timm=NAMES[dim], patch_size=patch_size, dim=dim, image_size=grid_of(weights) * patch_size)


def grid_of(weights: Mapping[str, Tensor]) -> int:
    """Tokens along a side of the image that the position embedding is of."""
    return math.isqrt(weights["pos_embed"].shape[1] - 1)


def fitting(weights: Mapping[str, Tensor], spec: BackboneSpec, bands: int) -> dict[str, Tensor]:
    """The same weights as float32, if they are exactly those of this backbone.

    Raises ValueError that names both grids where the position embedding is of another image size, and otherwise
    the first tensor that is missing, extra or of another shape.
    """
    if "pos_embed" in weights and grid_of(weights) != spec.grid:
        theirs = f"{grid_of(weights)} × {grid_of(weights)}"
        raise ValueError(
            f"the weights' position embedding is of a grid of {theirs} tokens, but {spec.image_size} px in tokens of "
            f"{spec.patch_size} px are a grid of {spec.grid} × {spec.grid}: choose another image size or patch size"
        )
    return dict(backbone.load(spec, bands, weights).state_dict())


def _of_timm(name: str) -> dict[str, Tensor]:
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except RuntimeError as error:  # an unknown model or tag, or one without weights
        raise ValueError(f"{name} is no file ({', '.join(FILES)}) and timm has no such weights: {error}") from None
    return dict(model.state_dict())


def _tensors_of(file: Path) -> Mapping[str, Any]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: {error}") from None


class _LeftOut:
    """Stands for what is no tensor: a checkpoint of the reference has its arguments and rates of numpy's in it."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


#: A pickle names what it makes, so these are made in place of those of argparse and numpy (1 and 2).
_STAND_INS: list[Any] = [
    type(name, (_LeftOut,), {"__module__": module})
    for module, name in (
        ("argparse", "Namespace"),
        ("_codecs", "encode"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
    )
]


def _unpickled(file: Path) -> Mapping[str, Any]:
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(_STAND_INS)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, AttributeError, ValueError) as error:
        said = f"{type(error).__name__} {error}".splitlines()[0]
        raise ValueError(f"{file} is no checkpoint of tensors: {said}") from None
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} holds no weights by name")
    return content
