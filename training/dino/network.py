"""What is trained: a backbone with a projection head, once as student and once as teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from service.model import backbone
from service.model.artifact import ArtifactError
from service.model.manifest import BackboneSpec
from training.dino import method
from training.dino.chance import Chance
from training.dino.crops import constant


class Network(nn.Module):
    """Backbone and projection head, as student and as teacher; begins as the reference does."""

    def __init__(self, spec: BackboneSpec, bands: int, prototypes: int) -> None:
        super().__init__()
        self.backbone = backbone.build(spec, bands, dynamic_img_size=False)
        if self.backbone.pos_embed is None or self.backbone.pos_embed.shape[1] != 1 + spec.grid**2:
            raise ArtifactError(f"{spec.timm} has no position embedding of its cls token and its {spec.grid}² tokens")
        nn.init.trunc_normal_(self.backbone.cls_token, std=0.02)  # timm's 1e-6 is not the reference's
        self.head = method.Head(spec.dim, prototypes)

    def forward(self, *crops: Tensor, kept: Sequence[Tensor] = ()) -> Tensor:
        """Crops of several sizes, each N_i × C × size_i², to ΣN_i × prototypes; one backbone pass a size.

        `kept` has for each size what `drop_path` drew.
        """
        passes = [self.embed(crop, kept[i] if kept else None) for i, crop in enumerate(crops)]
        return self.head(torch.cat(passes))  # type: ignore[no-any-return]  # nn.Module says Any

    def embed(self, crops: Tensor, kept: Tensor | None = None) -> Tensor:
        """N × C × size² to the normed cls tokens, N × dim. Any size that is a multiple of the patch size."""
        vit = self.backbone
        tokens = vit.patch_embed.proj(crops)
        cls = vit.cls_token.expand(len(crops), -1, -1)
        x = torch.cat((cls, tokens.flatten(2).transpose(1, 2)), dim=1) + positions(vit.pos_embed, tokens.shape[-1])
        x = vit.norm_pre(x)
        for i, block in enumerate(vit.blocks):
            x = block(x) if kept is None else _with_dropped_paths(block, x, *kept[i])
        return vit.norm(x[:, 0])  # type: ignore[no-any-return]  # timm is untyped


def drop_path(rate: float, depth: int, views: int, images: int, chance: Chance) -> Tensor:
    """Which of the two paths of each block to keep, block × 2 × (views · images) × 1 × 1: 0, or 1 ÷ (1 − its rate).

    Rates rise from 0 in the first block to `rate` in the last (stochastic depth, arXiv 1603.09382). Drawn image
    by image, not from torch's own generator, so that it does not matter which process has an image.
    """
    rates = constant(tuple(rate * i / max(depth - 1, 1) for i in range(depth)), chance.device).view(depth, 1, 1)
    drawn = chance.uniform(0, 1, views * images, depth, 2).permute(1, 2, 0)
    return ((drawn >= rates) / (1 - rates))[..., None, None]


def _with_dropped_paths(block: Any, x: Tensor, attention: Tensor, mlp: Tensor) -> Tensor:
    x = x + attention * block.ls1(block.attn(block.norm1(x)))
    return x + mlp * block.ls2(block.mlp(block.norm2(x)))  # type: ignore[no-any-return]  # timm is untyped


def positions(embedding: Tensor, grid: int) -> Tensor:
    """A position embedding, 1 × (1 + own²) × dim, for grid × grid tokens; the cls token's stays as it is.

    Bicubic by a factor that is 0.1 token too large and without antialiasing, as the reference does it for its
    small crops: weights that were trained so expect the same again.
    """
    own = round((embedding.shape[1] - 1) ** 0.5)
    if grid == own:
        return embedding
    cls, tokens = embedding[:, :1], embedding[:, 1:].unflatten(1, (own, own)).permute(0, 3, 1, 2)
    resized = interpolate(tokens, scale_factor=(grid + 0.1) / own, mode="bicubic")
    return torch.cat((cls, resized.flatten(2).transpose(1, 2)), dim=1)
