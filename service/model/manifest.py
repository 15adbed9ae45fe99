"""model.json: what an artifact says of itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from service.imagery.patches import InputSpec

Probability = Annotated[float, Field(ge=0, le=1)]


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
