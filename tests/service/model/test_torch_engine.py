from __future__ import annotations

import numpy as np
import timm
import torch

from service.imagery.resize import normalise
from service.model.artifact import Artifact
from service.model.torch_engine import TorchEngine


def test_embeddings_are_those_of_timms_model_and_logits_those_of_the_head(tiny_artifact: Artifact) -> None:
    manifest = tiny_artifact.manifest
    reference = timm.create_model("vit_tiny_patch16_224", patch_size=8, img_size=32, num_classes=0).eval()
    weights = {name: torch.from_numpy(value).float() for name, value in tiny_artifact.backbone.items()}
    reference.load_state_dict(weights)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    with torch.inference_mode():
        tokens = reference.forward_features(
            torch.from_numpy(normalise(images, manifest.input.mean, manifest.input.std))
        )
    out = TorchEngine(tiny_artifact, threads=1).run(images, tokens=True)
    assert np.allclose(out.embeddings, tokens[:, 0], atol=1e-5)
    assert out.tokens is not None
    assert out.tokens.shape == (3, 4, 4, 192)
    assert np.allclose(out.tokens[1, 2, 3], tokens[1, 1 + 2 * 4 + 3], atol=1e-5)
    expected = out.embeddings @ tiny_artifact.head["weight"].T + tiny_artifact.head["bias"]
    assert np.allclose(out.logits, expected, atol=1e-4)


def test_token_embeddings_come_only_when_asked_for(tiny_artifact: Artifact) -> None:
    assert TorchEngine(tiny_artifact, threads=1).run(np.zeros((1, 32, 32, 3), np.uint8)).tokens is None
