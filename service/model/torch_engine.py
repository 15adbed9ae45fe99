"""The torch engine: on GPUs, and on CPUs for backbones that no other engine runs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from service.imagery.resize import scale_and_shift
from service.model import backbone
from service.model.artifact import Artifact
from service.model.cuda_graphs import CudaGraphs, Recorded
from service.model.engine import Output

TOKENS = 65_536  # of all images in a GPU at once: enough to fill it, with 2 GB of memory for ViT-L


class TorchEngine:
    """See `service.model.engine.Engine`."""

    def __init__(
        self, artifact: Artifact, threads: int, device: str | None = None, *, bfloat16: bool | None = None
    ) -> None:
        """`device` as torch names it (cuda:1, cpu): else a GPU if there is one.

        `bfloat16` says whether matrix products are (`backbone.round_products`): else on GPUs that multiply it (since
        Ampere), and not on a CPU, where training and tests compare numbers.
        """
        torch.set_num_threads(threads)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        on_gpu = self._device.type == "cuda"
        if bfloat16 is None:
            bfloat16 = on_gpu and torch.cuda.get_device_capability(self._device) >= (8, 0)
        where = torch.cuda.get_device_name(self._device) if on_gpu else self._device.type
        self.name = f"torch {torch.__version__} {where} {'bfloat16' if bfloat16 else 'float32'}"

        manifest = artifact.manifest
        self._spec, self._blocks = manifest.backbone, manifest.head.blocks
        tokens = 1 + self._spec.grid**2
        self.largest_batch = 1 << (max(1, TOKENS // tokens).bit_length() - 1) if on_gpu else 16
        weights = {name: torch.from_numpy(tensor) for name, tensor in artifact.backbone.items()}
        self._model = backbone.load(manifest.backbone, len(manifest.input.bands), weights).to(self._device)
        if bfloat16:
            backbone.round_products(self._model)
        scale, shift = scale_and_shift(manifest.input.mean, manifest.input.std)
        self._scale, self._shift = self._constant(scale[:, None, None]), self._constant(shift[:, None, None])
        self._weight, self._bias = self._constant(artifact.head["weight"]), self._constant(artifact.head["bias"])
        self._infer = self._recorded() if on_gpu else self.infer

    @torch.inference_mode()
    def run(self, images: NDArray[np.uint8], tokens: bool = False) -> Output:
        """See `Engine.run`."""
        embeddings, logits, token_embeddings = self._infer(torch.from_numpy(images))
        return Output(
            embeddings=embeddings.cpu().numpy(),
            logits=logits.cpu().numpy(),
            tokens=token_embeddings.cpu().numpy() if tokens else None,
        )

    @torch.inference_mode()
    def infer(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `Output` holds, with tokens, from images on the device, which stays there.

        Normalised there as by `service.imagery.resize.normalise`: bytes are a quarter of float32 on the way to it.
        """
        pixels = images.permute(0, 3, 1, 2) * self._scale - self._shift
        cls, tokens = backbone.cls_and_tokens(self._model, pixels, self._blocks)
        logits = torch.nn.functional.linear(cls, self._weight, self._bias)
        grid = (len(images), self._spec.grid, self._spec.grid, self._spec.dim)
        return cls[:, -self._spec.dim :], logits, tokens.reshape(grid)

    def _recorded(self) -> Recorded:
        side, bands = self._spec.image_size, len(self._scale)
        room = torch.zeros(self.largest_batch, side, side, bands, dtype=torch.uint8, device=self._device)
        return Recorded(self.infer, room, CudaGraphs(self._device))

    def _constant(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(self._device)
