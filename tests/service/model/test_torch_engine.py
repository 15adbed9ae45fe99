from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray

from service.imagery.resize import normalise, resize
from service.model.artifact import STARTER, Artifact, load
from service.model.torch_engine import TorchEngine


def smooth_patches(side: int, count: int) -> NDArray[np.uint8]:
    """Dark, and of little contrast, as forests and lakes are: 3 bands, neighbours differ by less than one step."""
    chance = np.random.default_rng(0)
    return np.stack([resize(chance.integers(20, 30, (7, 7, 3), np.uint8), side) for _ in range(count)])


def cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of vectors along the last axis."""
    return (one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)


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


def test_in_bfloat16_it_stays_close() -> None:
    starter = load(STARTER)
    images = smooth_patches(starter.manifest.backbone.image_size, 4)
    exact, close = (TorchEngine(starter, 1, "cpu", bfloat16=rounded) for rounded in (False, True))
    assert exact.name.endswith("cpu float32") and close.name.endswith("cpu bfloat16")
    one, other = exact.run(images, tokens=True), close.run(images, tokens=True)
    assert one.tokens is not None and other.tokens is not None
    assert cosines(one.embeddings, other.embeddings).min() >= 0.9999
    assert cosines(one.tokens, other.tokens).min() >= 0.999
    assert not np.array_equal(one.embeddings, other.embeddings)  # it is another engine
    assert {array.dtype for array in (other.embeddings, other.logits, other.tokens)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("bfloat16", [False, True])
def test_all_that_it_computes_with_is_on_the_device_that_it_was_given(tiny_artifact: Artifact, bfloat16: bool) -> None:
    """On "meta", which stands for any: what is left on the CPU is an error there, as on a GPU."""
    engine = TorchEngine(tiny_artifact, 1, "meta", bfloat16=bfloat16)
    found = engine.infer(torch.empty(5, 32, 32, 3, dtype=torch.uint8, device="meta"))
    assert [tuple(output.shape) for output in found] == [(5, 192), (5, 5), (5, 4, 4, 192)]
    assert {(output.device.type, output.dtype) for output in found} == {("meta", torch.float32)}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("bfloat16", "least"), [(False, 0.9999), (None, 0.999)])
def test_a_gpu_answers_as_the_cpu_does(bfloat16: bool | None, least: float) -> None:
    starter = load(STARTER)
    exact, engine = TorchEngine(starter, 1, "cpu"), TorchEngine(starter, 1, bfloat16=bfloat16)
    assert torch.cuda.get_device_name() in engine.name
    images = smooth_patches(starter.manifest.backbone.image_size, 7)
    one = exact.run(images, tokens=True)
    for times in (1, 50):  # the second is more than one recording takes
        other = engine.run(np.tile(images, (times, 1, 1, 1)), tokens=True)
        assert one.tokens is not None and other.tokens is not None
        assert cosines(np.tile(one.embeddings, (times, 1)), other.embeddings).min() >= least
        assert cosines(np.tile(one.tokens, (times, 1, 1, 1)), other.tokens).min() >= least
