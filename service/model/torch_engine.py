"""The torch engine: CUDA where there is one, else the CPU; float32, so that training sees the same numbers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from service.imagery.resize import normalise
from service.model import backbone
from service.model.artifact import Artifact
from service.model.engine import Output


class TorchEngine:
    """See `service.model.engine.Engine`."""

    def __init__(self, artifact: Artifact, threads: int, device: str | None = None) -> None:
        manifest = artifact.manifest
        torch.set_num_threads(threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.largest_batch = 256 if self._device.type == "cuda" else 16
        self.name = f"torch {torch.__version__} {self._device.type} float32"
        self._input, self._blocks, self._spec = manifest.input, manifest.head.blocks, manifest.backbone
        weights = {name: torch.from_numpy(tensor) for name, tensor in artifact.backbone.items()}
        self._model = backbone.load(manifest.backbone, len(manifest.input.bands), weights).to(self._device)
        self._weight = torch.from_numpy(artifact.head["weight"]).float().to(self._device)
        self._bias = torch.from_numpy(artifact.head["bias"]).float().to(self._device)

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """See `Engine.run`."""
        batch = torch.from_numpy(normalise(images, self._input.mean, self._input.std)).to(self._device)
        cls, token_embeddings = backbone.cls_and_tokens(self._model, batch, self._blocks)
        logits = torch.nn.functional.linear(cls, self._weight, self._bias)
        grid = (len(batch), self._spec.grid, self._spec.grid, self._spec.dim)
        return Output(
            embeddings=cls[:, -self._spec.dim :].cpu().numpy(),
            logits=logits.cpu().numpy(),
            tokens=token_embeddings.reshape(grid).cpu().numpy() if tokens else None,
        )
