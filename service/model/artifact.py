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
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from service.imagery.patches import InputSpec

MANIFEST, BACKBONE, HEAD = "model.json", "backbone.safetensors", "head.safetensors"
INT8 = "engines/int8.safetensors"
STARTER = Path(__file__).parent / "starter"

Probability = Annotated[float, Field(ge=0, le=1)]
Tensors = Mapping[str, NDArray[Any]]


class ArtifactError(ValueError):
    """An artifact that cannot be trusted or used; the message is one line that names what is wrong."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackboneSpec(_Part):
    """A timm VisionTransformer."""

    timm: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)?$")]  # no hub address, no path
    patch_size: int = Field(gt=0)  #: pixels of the resized patch that make a token
    dim: int = Field(gt=0)
    image_size: int = Field(gt=0)  #: side of the resized patch, pixels

    @property
    def grid(self) -> int:
        """Tokens along a side."""
        return self.image_size // self.patch_size


class EmbeddingSpec(_Part):
    """What is answered as the embedding."""

    layer: Literal["last"] = "last"
    pooling: Literal["cls"] = "cls"
    dim: int = Field(gt=0)


class InputModel(_Part):
    """What imagery the model reads and how it becomes a tensor."""

    bands: tuple[str, ...] = Field(min_length=1)
    patch_px: int = Field(gt=0)
    gsd_m: float = Field(gt=0)
    divisor: float = Field(gt=0)  #: DN that becomes 255
    resize: Literal["bicubic"] = "bicubic"
    mean: tuple[float, ...]  #: of each band, 0–1
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _one_number_a_band(self) -> InputModel:
        if not len(self.bands) == len(self.mean) == len(self.std):
            raise ValueError("bands, mean and std must have one entry each per band")
        return self

    @property
    def spec(self) -> InputSpec:
        """The part of it that reading needs."""
        return InputSpec(self.bands, self.patch_px, self.gsd_m, self.divisor)


class HeadSpec(_Part):
    """Which features the probe reads: the normed cls token of the last block, or of the last four, in their order."""

    features: Literal["cls", "cls4"]

    @property
    def blocks(self) -> int:
        """How many blocks, from the last."""
        return {"cls": 1, "cls4": 4}[self.features]


class Label(_Part):
    """One label. Without `direct` supervision it is answered null: the model cannot tell."""

    name: str
    threshold: Probability | None = (
        None  #: from the validation split; None: never listed, unless a request says from when
    )
    supervision: tuple[Literal["direct", "group"], ...] = ()
    average_precision: Probability | None = None

    @property
    def is_answered(self) -> bool:
        """False where an answer would be invented."""
        return "direct" in self.supervision


class Group(_Part):
    """Labels of which the training data says only that at least one is there."""

    name: str
    members: tuple[str, ...] = Field(min_length=1)
    threshold: Probability | None = None
    average_precision: Probability | None = None


class Training(_Part):
    """Where the weights come from."""

    stores: tuple[str, ...]
    images: int  #: distinct images seen in pretraining
    epochs: float
    seed: int
    init: str | None = None  #: file or timm's name of its first weights; None: random
    commit: str | None = None


class Int8Engine(_Part):
    """How far the answers of int8 are from those of float32: what `package` measured and found close enough."""

    precision: Literal["int8"] = "int8"
    calibration: int = Field(gt=0)  #: patches that the ranges are of
    store: str
    split: str
    n: int = Field(gt=0)  #: patches that were compared
    cosine_mean: float  #: of embeddings
    cosine_min: float
    probability_difference: Probability  #: the largest of any label or group
    average_precision_difference: float  #: macro, int8 minus float32


class Manifest(_Part):
    """model.json."""

    artifact: Literal[1] = 1  #: version of this format
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: str
    description: str = ""
    created: str
    licence: str
    attribution: str
    backbone: BackboneSpec
    embedding: EmbeddingSpec
    input: InputModel
    head: HeadSpec
    labels: tuple[Label, ...] = Field(min_length=1)
    groups: tuple[Group, ...] = ()
    training: Training
    metrics: tuple[dict[str, Any], ...] = ()
    engines: tuple[Int8Engine, ...] = ()
    files: dict[str, str]  #: path → SHA-256

    @model_validator(mode="after")
    def _names_agree(self) -> Manifest:
        names = [label.name for label in self.labels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"labels named twice: {', '.join(twice)}")
        for group in self.groups:
            if unknown := [member for member in group.members if member not in names]:
                raise ValueError(f"group {group.name!r} has members that are no labels: {', '.join(unknown)}")
        return self


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

        `….smoothing` [features] divides the input and multiplies the weights, `….range` [2] is then the input's.
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
        weight = artifact.backbone.get(f"{product}.weight", np.empty(()))
        fits = limits.shape == (2,) and limits[0] < limits[1] and smoothing.shape == weight.shape[1:2]
        if not (fits and np.isfinite(limits).all() and (smoothing > 0).all() and np.isfinite(smoothing).all()):
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
