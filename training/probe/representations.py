"""What turns patches into features: the rows of the evaluation's table."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from service.imagery.resize import normalise, resize
from service.model import backbone
from service.model.artifact import Artifact
from service.model.manifest import BackboneSpec
from training.dino import weights

PERCENTILES = (5, 25, 50, 75, 95)


class Representation(Protocol):
    """Patches to features, the same features for the same patch whatever stands beside it."""

    @property
    def name(self) -> str:
        """Of its row in the table."""
        ...

    @property
    def key(self) -> str:
        """Changes whenever the features would."""
        ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """N × H × W × C to N × features."""
        ...


@dataclass(frozen=True)
class ImageStatistics:
    """Mean, standard deviation and percentiles of each band: what colour alone can tell."""

    name: str = "image statistics"
    key: str = "statistics-1"

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Representation`."""
        pixels = images.reshape(len(images), -1, images.shape[-1]).astype(np.float32)
        spread = np.percentile(pixels, PERCENTILES, axis=1).transpose(1, 0, 2).reshape(len(images), -1)
        return np.hstack([pixels.mean(1), pixels.std(1), spread]).astype(np.float32)


class Transformer:
    """Normed cls tokens of a backbone, read through the same resize, normalisation and code as the service."""

    def __init__(
        self,
        name: str,
        spec: BackboneSpec,
        weights: Mapping[str, Tensor],
        bands: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        blocks: int = 1,
    ) -> None:
        self.name, self._spec, self._mean, self._std, self._blocks = name, spec, mean, std, blocks
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = backbone.load(spec, bands, weights).to(self._device)
        digest = hashlib.sha256(repr((spec, mean, std, blocks)).encode())
        for tensor_name in sorted(weights):
            digest.update(weights[tensor_name].float().contiguous().numpy().tobytes())
        self.key = f"transformer-{digest.hexdigest()[:16]}"

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Representation`."""
        resized = np.stack([resize(image, self._spec.image_size) for image in images])
        batch = torch.from_numpy(normalise(resized, self._mean, self._std)).to(self._device)
        features, _ = backbone.cls_and_tokens(self._model, batch, self._blocks)
        return features.cpu().numpy()


def untrained(
    spec: BackboneSpec, bands: int, mean: tuple[float, ...], std: tuple[float, ...], blocks: int = 1
) -> Transformer:
    """The same backbone before any training, seed 0."""
    torch.manual_seed(0)
    return Transformer("untrained", spec, backbone.build(spec, bands).state_dict(), bands, mean, std, blocks)


def of_file(file: Path, bands: int, mean: tuple[float, ...], std: tuple[float, ...], blocks: int = 1) -> Transformer:
    """A backbone as `training.dino.weights` reads it, at the image size of its own position embedding."""
    found = weights.read(file)
    return Transformer(file.stem, weights.spec_of(found), found, bands, mean, std, blocks)


class Timm:
    """Features of any model that timm can load with its weights, resized and normalised as these ask for.

    A transformer gives its cls tokens as ours does; whatever has none, or only one block to give, what it pools.
    """

    def __init__(self, name: str, blocks: int = 1) -> None:
        self.name, self._blocks = name, blocks
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model: nn.Module = timm.create_model(name, pretrained=True, num_classes=0).to(self._device).eval()
        asked = timm.data.resolve_model_data_config(self._model)
        self._size, self._mean, self._std = asked["input_size"][-1], asked["mean"], asked["std"]
        self._tokens = blocks > 1 and isinstance(self._model, VisionTransformer) and self._model.has_class_token
        self.key = f"{name}, {blocks} blocks" if self._tokens else name

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `Representation`."""
        resized = np.stack([resize(image, self._size) for image in images])
        batch = torch.from_numpy(normalise(resized, self._mean, self._std)).to(self._device)
        if self._tokens:
            features, _ = backbone.cls_and_tokens(self._model, batch, self._blocks)
        else:
            features = self._model(batch)
        return features.float().cpu().numpy()


def of_artifact(artifact: Artifact, blocks: int = 1) -> Transformer:
    """The backbone that an artifact serves."""
    manifest = artifact.manifest
    weights = {name: torch.from_numpy(tensor) for name, tensor in artifact.backbone.items()}
    given = manifest.input
    name = f"{manifest.name} {manifest.version}"
    return Transformer(name, manifest.backbone, weights, len(given.bands), given.mean, given.std, blocks)
