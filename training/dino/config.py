"""All that decides what a run of pretraining learns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import timm

from service.model.manifest import BackboneSpec
from training.dino.crops import Views
from training.runs import Run


@dataclass(frozen=True)
class Config:
    """All that decides what a run learns; kept in its config.json."""

    stores: tuple[str, ...]  #: names
    images: int
    bands: tuple[str, ...]
    backbone: str  #: timm's name
    patch_size: int
    image_size: int  #: that the model is served at; crops of other sizes interpolate its position embedding
    global_px: int
    local_px: int
    local_crops: int
    global_scale: tuple[float, float]
    local_scale: tuple[float, float]
    recipe: str  #: of `recipes.RECIPES`
    prototypes: int
    targets: str  #: centred | balanced
    teacher_temperature: float
    optimizer: str  #: adamw | muon
    learning_rate: float  #: for a batch of 256; scaled to the batch
    weight_decay: tuple[float, float]  #: first, last
    momentum: float  #: of the teacher, first; the last is 1
    batch: int
    epochs: float
    warm_up_epochs: float
    freeze_epochs: float  #: without gradient for the prototypes
    drop_path: float
    seed: int
    dtype: str  #: bfloat16 (weights stay float32) | float32 | float64
    init: str = ""  #: where the backbone's first weights come from, as `weights.read` takes it; else random

    @classmethod
    def read(cls, run: Run) -> Config:
        """Of a run that was begun. Raises FileNotFoundError before."""
        saved: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in run.config().items()}
        return cls(**saved)

    @property
    def views(self) -> Views:
        """Sizes of the crops."""
        return Views(self.global_px, self.local_px, self.local_crops, self.global_scale, self.local_scale)

    @cached_property
    def spec(self) -> BackboneSpec:
        """Of the backbone that this run trains."""
        dim = timm.create_model(self.backbone, num_classes=0).num_features
        return BackboneSpec(timm=self.backbone, patch_size=self.patch_size, dim=dim, image_size=self.image_size)

    @property
    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """What the model is normalised with: ImageNet's figures, as the reference, or their means if not 3 bands."""
        mean, std, bands = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), len(self.bands)
        return (mean, std) if bands == 3 else ((sum(mean) / 3,) * bands, (sum(std) / 3,) * bands)

    def record(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def refuse_what_cannot_learn(self) -> None:
        """Raises ValueError that names what does not fit."""
        if not timm.is_model(self.backbone):
            raise ValueError(f"timm has no model {self.backbone!r}")
        if self.images < self.batch:
            raise ValueError(f"{self.images} images do not fill a batch of {self.batch}; lower --batch")
        if self.warm_up_epochs >= self.epochs or round(self.epochs * (self.images // self.batch)) < 1:
            raise ValueError(
                f"{self.epochs:g} epochs leave nothing to learn after a warm-up of {self.warm_up_epochs:g}; "
                "raise --epochs or lower --warm-up-epochs"
            )
        for name in ("image_size", "global_px", "local_px"):
            if getattr(self, name) % self.patch_size:
                raise ValueError(f"{name} {getattr(self, name)} is no multiple of the patch size {self.patch_size}")
