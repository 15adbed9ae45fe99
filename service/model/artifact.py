"""The artifact: a directory with all that turns a patch into numbers. Version 1.

    model.json              what it is: backbone, input, labels, training, metrics, and a SHA-256 of each other file
    backbone.safetensors    weights under timm's names
    head.safetensors        weight [labels, features] and bias [labels], calibration folded in
    engines/int8.safetensors  ranges that make the CPU engine int8 (optional)
    card.md, report/…       for people (optional)

Nothing in it is ever unpickled, and a file that is missing, extra or altered is refused by name.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from service.model.manifest import Manifest

MANIFEST, BACKBONE, HEAD = "model.json", "backbone.safetensors", "head.safetensors"
INT8 = "engines/int8.safetensors"
STARTER = Path(__file__).parent / "starter"

LARGEST = 1e30  # of a range, whose width is still a number

Tensors = Mapping[str, NDArray[Any]]


class ArtifactError(ValueError):
    """An artifact that cannot be trusted or used; the message is one line that names what is wrong."""


@dataclass(frozen=True)
class Artifact:
    """A verified artifact in memory."""

    path: Path
    manifest: Manifest
    sha256: str  #: of model.json: with the digests in it, of everything
    _contents: Mapping[str, bytes]

    @cached_property
    def backbone(self) -> Tensors:
        """Weights by timm's names."""
        return _tensors(self._contents[BACKBONE], BACKBONE)

    @cached_property
    def head(self) -> Tensors:
        """weight [labels, features] and bias [labels]."""
        return _tensors(self._contents[HEAD], HEAD)

    @cached_property
    def ranges(self) -> Tensors | None:
        """What makes matrix products int8, by their names; None if none may be.

        `….smoothing` [features] divides the input and multiplies the weights, `….range` [2] is then the input's. In
        `blocks.….attn.scores` it divides scaled queries and multiplies keys, and the range is that of both.
        """
        return _tensors(self._contents[INT8], INT8) if self.manifest.engines else None


def load(path: Path) -> Artifact:
    """Reads and verifies an artifact. Raises ArtifactError with one line that names what is wrong."""
    try:
        text = (path / MANIFEST).read_bytes()
        manifest = Manifest.model_validate_json(text)
    except FileNotFoundError:
        raise ArtifactError(f"{path}: {MANIFEST} is missing") from None
    except OSError as error:
        raise ArtifactError(f"{path}: {MANIFEST} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise ArtifactError(f"{path}: {MANIFEST}: {where}: {first['msg']}") from None
    contents = _verified(path, manifest)
    artifact = Artifact(path, manifest, hashlib.sha256(text).hexdigest(), contents)
    _check_shapes(artifact)
    _check_ranges(artifact)
    return artifact


def save(
    path: Path, manifest: Manifest, backbone: Tensors, head: Tensors, others: Mapping[str, bytes] | None = None
) -> Artifact:
    """Writes an artifact into an empty or new folder, whole or not at all. `others`: engines/…, card.md, report/….

    `manifest.files` is filled in here. Raises ArtifactError if it would not load, FileExistsError if the
    folder holds anything.
    """
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty")
    unfinished = path.with_name(path.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a program that was killed
    unfinished.mkdir(parents=True)
    contents = {BACKBONE: save_tensors(dict(backbone)), HEAD: save_tensors(dict(head))}
    contents |= others or {}
    for name, content in contents.items():
        (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
        (unfinished / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    whole = manifest.model_copy(update={"files": digests})
    text = json.dumps(whole.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    (unfinished / MANIFEST).write_text(text)
    load(unfinished)
    unfinished.replace(path)
    return load(path)


def _verified(path: Path, manifest: Manifest) -> dict[str, bytes]:
    for required in (BACKBONE, HEAD, *([INT8] if manifest.engines else [])):
        if required not in manifest.files:
            raise ArtifactError(f"{path}: {MANIFEST} lists no {required}")
    there = {str(file.relative_to(path)) for file in path.rglob("*") if not file.is_dir()} - {MANIFEST}
    if missing := sorted(set(manifest.files) - there):
        raise ArtifactError(f"{path}: missing: {', '.join(missing)}")
    if extra := sorted(there - set(manifest.files)):
        raise ArtifactError(f"{path}: not listed in {MANIFEST}: {', '.join(extra)}")
    try:
        contents = {name: (path / name).read_bytes() for name in manifest.files}
    except OSError as error:
        raise ArtifactError(f"{error.filename} cannot be read: {error.strerror}") from None
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != manifest.files[name]:
            raise ArtifactError(f"{path}: {name} was altered: its SHA-256 is not the one in {MANIFEST}")
    return contents


def _tensors(content: bytes, name: str) -> Tensors:
    try:
        return load_tensors(content)
    except SafetensorError as error:
        raise ArtifactError(f"{name}: {error}") from None
    except KeyError as error:  # numpy has no such type
        raise ArtifactError(f"{name}: values of type {error.args[0]} cannot be read; save float16 or float32") from None


def _check_ranges(artifact: Artifact) -> None:
    """Names the first product whose range or smoothing is missing or cannot be."""
    ranges = artifact.ranges or {}
    for product in sorted({name.rpartition(".")[0] for name in ranges}):
        limits, smoothing = (ranges.get(f"{product}.{kind}", np.empty(0)) for kind in ("range", "smoothing"))
        weights = f"{product.removesuffix('scores')}qkv" if product.endswith(".attn.scores") else product
        weight = artifact.backbone.get(f"{weights}.weight", np.empty(()))
        fits = limits.shape == (2,) and limits[0] < limits[1] and smoothing.shape == weight.shape[1:2]
        if not (fits and np.abs(limits).max() < LARGEST and (smoothing > 0).all() and np.isfinite(smoothing).all()):
            raise ArtifactError(f"{artifact.path}: {INT8}: {product} has no range and smoothing that fit it")


def _check_shapes(artifact: Artifact) -> None:
    """Names the first tensor that does not fit the manifest; the engine checks the names of the others."""
    manifest = artifact.manifest
    backbone, labels = manifest.backbone, len(manifest.labels)
    expected = {
        HEAD: {"weight": (labels, backbone.dim * manifest.head.blocks), "bias": (labels,)},
        BACKBONE: {
            "cls_token": (1, 1, backbone.dim),
            "pos_embed": (1, 1 + backbone.grid**2, backbone.dim),
            "patch_embed.proj.weight": (
                *(backbone.dim, len(manifest.input.bands)),
                *(backbone.patch_size, backbone.patch_size),
            ),
        },
    }
    for file, shapes in expected.items():
        tensors = artifact.head if file == HEAD else artifact.backbone
        for name, shape in shapes.items():
            if name not in tensors:
                raise ArtifactError(f"{artifact.path}: {file} has no tensor {name}")
            if tensors[name].shape != shape:
                found = "×".join(map(str, tensors[name].shape))
                wanted = "×".join(map(str, shape))
                raise ArtifactError(f"{artifact.path}: {file}: {name} is {found}, but {MANIFEST} asks for {wanted}")
        if broken := [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]:
            raise ArtifactError(f"{artifact.path}: {file}: {broken[0]} holds values that are not finite")
    if manifest.embedding.dim != backbone.dim:
        raise ArtifactError(
            f"{artifact.path}: embedding.dim is {manifest.embedding.dim}, the backbone's {backbone.dim}"
        )
