"""rasterio, timm and torch as their documentation shows them; the weights are those that ours serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from rasterio.io import MemoryFile
from safetensors.torch import load_file
from torchvision.transforms.functional import normalize, to_tensor


class Model:
    """GeoTIFFs to embeddings and land cover."""

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "model.json").read_text())
        self._input, self._size = card["input"], card["backbone"]["image_size"]
        self._labels = [label["name"] for label in card["labels"]]
        weights = load_file(folder / "backbone.safetensors")
        self._vit: Any = timm.create_model(card["backbone"]["timm"], num_classes=0)
        self._vit.load_state_dict(weights)
        self._vit.eval()
        head = load_file(folder / "head.safetensors")
        self._head = torch.nn.Linear(head["weight"].shape[1], len(self._labels))
        self._head.load_state_dict(head)

    def read(self, tile: bytes) -> torch.Tensor:
        """3 × size × size, normalised."""
        with MemoryFile(tile) as file, file.open() as dataset:
            values = dataset.read()
        pixels = np.clip(values * (255 / self._input["divisor"]), 0, 255).astype(np.uint8).transpose(1, 2, 0)
        image = Image.fromarray(pixels).resize((self._size, self._size), Image.Resampling.BICUBIC)
        return normalize(to_tensor(image), self._input["mean"], self._input["std"])

    @torch.inference_mode()
    def answers(self, batch: torch.Tensor) -> list[dict[str, Any]]:
        """One for each image, as JSON has it."""
        embeddings = self._vit(batch)
        probabilities = torch.sigmoid(self._head(embeddings))
        return [
            {"embedding": embedding, "probabilities": dict(zip(self._labels, some, strict=True))}
            for embedding, some in zip(embeddings.tolist(), probabilities.tolist(), strict=True)
        ]
