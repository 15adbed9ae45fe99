"""What is trained: a backbone with a projection head, once as student and once as teacher."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from service.model import backbone
from service.model.artifact import BackboneSpec
from training.dino import method


class Network(nn.Module):
    """Backbone and projection head, as student and as teacher."""

    def __init__(self, spec: BackboneSpec, bands: int, prototypes: int, drop_path: float) -> None:
        super().__init__()
        self.backbone = backbone.build(spec, bands, drop_path_rate=drop_path, dynamic_img_size=True)
        self.head = method.Head(spec.dim, prototypes)

    def forward(self, *crops: Tensor) -> Tensor:
        """Crops of several sizes, each N_i × C × size_i², to ΣN_i × prototypes; one backbone pass a size."""
        return self.head(torch.cat([self.backbone(crop) for crop in crops]))  # type: ignore[no-any-return]  # nn.Module says Any
