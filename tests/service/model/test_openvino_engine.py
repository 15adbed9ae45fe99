from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.cpus import usable_cpus
from service.model import openvino_engine
from service.model.artifact import STARTER, Artifact, Tensors, load, save
from service.model.engine import choose
from service.model.manifest import HeadSpec
from service.model.openvino_engine import OpenVinoEngine, has_bfloat16
from service.model.openvino_graph import graph, probed_graph
from service.model.torch_engine import TorchEngine
from tests.conftest import ROOT, SMALL, TINY, save_tiny_artifact
from tests.imagery import reflectance


def patches(artifact: Artifact, count: int = 3) -> NDArray[np.uint8]:
    """As fields look, stretched, at the model's size."""
    side, bands = artifact.manifest.backbone.image_size, len(artifact.manifest.input.bands)
    of_fields = [reflectance(side, bands, seed) / artifact.manifest.input.divisor for seed in range(count)]
    return np.stack([np.clip(values * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0) for values in of_fields])


def least_cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of vectors along the last axis."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(-1) / lengths).min())


def with_four_blocks(artifact: Artifact, folder: Path) -> Artifact:
    """The same backbone under a head that reads four blocks."""
    chance = np.random.default_rng(1)
    head = {"weight": chance.normal(0, 0.1, (5, 768)).astype(np.float32), "bias": np.ones(5, np.float32)}
    manifest = artifact.manifest.model_copy(update={"head": HeadSpec(features="cls4")})
    return save(folder, manifest, artifact.backbone, head)


UNEVEN = TINY.model_copy(update={"image_size": 37})
MAKERS: dict[str, Callable[[Artifact, Path], Artifact]] = {
    "one block": lambda tiny, _: tiny,
    "four blocks": with_four_blocks,
    "one band": lambda _, folder: save_tiny_artifact(folder, ("B08",)),
    "twelve bands": lambda _, folder: save_tiny_artifact(folder, tuple(f"band {i}" for i in range(12))),
    "a size that tokens do not fill": lambda _, folder: save_tiny_artifact(folder, spec=UNEVEN),
    "ViT-S/16 at 224 px": lambda _, folder: save_tiny_artifact(folder, spec=SMALL),
    "the starter": lambda _tiny, _folder: load(STARTER),
}


@pytest.fixture(params=MAKERS)
def artifact(request: pytest.FixtureRequest, tiny_artifact: Artifact, tmp_path: Path) -> Artifact:
    return MAKERS[request.param](tiny_artifact, tmp_path / "artifact")


def test_in_float32_it_answers_as_torch_does(artifact: Artifact) -> None:
    images = patches(artifact)
    torch, ours = TorchEngine(artifact, 1).run(images, tokens=True), OpenVinoEngine(artifact, 1)
    for out in (ours.run(images), ours.run(images, tokens=True)):
        assert least_cosine(out.embeddings, torch.embeddings) >= 0.99999
        assert np.allclose(out.embeddings, torch.embeddings, atol=1e-3)
        assert np.allclose(out.logits, torch.logits, atol=1e-3)
    assert out.tokens is not None and torch.tokens is not None
    assert out.tokens.shape == torch.tokens.shape
    assert np.allclose(out.tokens, torch.tokens, atol=1e-3)


@pytest.mark.skipif(not has_bfloat16(), reason="this processor does not multiply bfloat16")
def test_in_bfloat16_it_stays_close() -> None:
    artifact = load(STARTER)
    images = patches(artifact)
    exact, close = (OpenVinoEngine(artifact, 1, bfloat16=rounded).run(images) for rounded in (False, True))
    assert least_cosine(close.embeddings, exact.embeddings) >= 0.999
    assert not np.array_equal(close.embeddings, exact.embeddings)  # it is another engine


def ranges_that_fit(artifact: Artifact) -> dict[str, NDArray[np.float32]]:
    """Of all products of a model whose layer norms are as they began."""
    _, inputs = probed_graph(artifact)
    products = {name.removesuffix(".query").removesuffix(".key") for name in inputs}
    assert (len(inputs), len(products)) == (12 * 6, 12 * 5)  # qkv, queries and keys, proj, fc1, fc2
    ranges = {f"{name}.range": np.array([-1, 1], np.float32) * (2 if "scores" in name else 6) for name in products}
    for name in products:
        features = artifact.backbone[f"{name}.weight"].shape[1] if "scores" not in name else 192
        ranges[f"{name}.smoothing"] = np.linspace(0.9, 1.1, features, dtype=np.float32)
    return ranges


def test_in_int8_it_stays_close_with_ranges_that_fit(tiny_artifact: Artifact) -> None:
    images, ranges = patches(tiny_artifact), ranges_that_fit(tiny_artifact)
    older = {name: values for name, values in ranges.items() if "scores" not in name}
    engines = [OpenVinoEngine(tiny_artifact, 1, ranges=given) for given in (None, ranges, older)]
    assert [engine.name.endswith("int8 and float32") for engine in engines] == [False, True, True]
    exact, close, without_scores = (engine.run(images).embeddings for engine in engines)
    assert 0.99 <= least_cosine(exact, close) < 0.9999999  # close, and another engine
    assert 0.99 <= least_cosine(exact, without_scores) < 0.9999999
    assert not np.array_equal(close, without_scores)


def test_scores_are_int8_only_as_far_as_their_range_goes(tiny_artifact: Artifact) -> None:
    ranges = {name: values for name, values in ranges_that_fit(tiny_artifact).items() if "scores" in name}
    images = patches(tiny_artifact)
    exact, narrow = (
        OpenVinoEngine(tiny_artifact, 1, ranges=given).run(images).embeddings
        for given in (None, ranges | {name: values / 60 for name, values in ranges.items() if "range" in name})
    )
    wide = OpenVinoEngine(tiny_artifact, 1, ranges=ranges).run(images).embeddings
    assert least_cosine(exact, narrow) < least_cosine(exact, wide)


def test_a_patch_gets_the_same_answer_whatever_stands_beside_it(tiny_artifact: Artifact) -> None:
    images, engine = patches(tiny_artifact, 5), OpenVinoEngine(tiny_artifact, 1)
    alone = np.concatenate([engine.run(image[None]).embeddings for image in images])
    assert np.allclose(engine.run(images).embeddings, alone, atol=1e-5)


def test_engines_apart_give_the_numbers_of_one_for_all_threads(tiny_artifact: Artifact) -> None:
    images = patches(tiny_artifact, 16)
    found = choose(tiny_artifact, 2, "openvino-fp32")
    one = found.together
    if one is None:
        pytest.skip("OpenVINO takes both for one core")
    assert [engine.name for engine in found.each] == [one.name] * 2
    of_each = [images, images[::-1]]
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda engine, its: engine.run(its).embeddings, found.each, of_each))
    assert all(np.array_equal(found, one.run(its).embeddings) for found, its in zip(told, of_each, strict=True))


def test_engines_that_are_apart_share_one_graph_for_tokens(
    tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = choose(tiny_artifact, 2, "openvino-fp32")
    built: list[bool] = []

    def counted(artifact: Artifact, tokens: bool, ranges: Tensors | None) -> object:
        built.append(tokens)
        return graph(artifact, tokens, ranges)

    monkeypatch.setattr(openvino_engine, "graph", counted)
    images = patches(tiny_artifact, 4)
    with ThreadPoolExecutor(2) as threads:
        told = list(threads.map(lambda engine: engine.run(images, tokens=True).tokens, found.each))
    assert built == [True]
    assert all(np.array_equal(tokens, told[0]) for tokens in told)


def test_there_are_no_more_engines_than_openvino_has_threads(tiny_artifact: Artifact) -> None:
    asked = 2 * usable_cpus()  # more than it takes
    found = choose(tiny_artifact, asked, "openvino-fp32")
    assert 1 <= len(found.each) <= usable_cpus()
    assert (found.together is None) == (len(found.each) == 1)


def test_one_thread_has_one_engine(tiny_artifact: Artifact) -> None:
    found = choose(tiny_artifact, 1, "openvino-fp32")
    assert len(found.each) == 1
    assert found.together is None


def test_answers_are_not_overwritten_by_the_next(tiny_artifact: Artifact) -> None:
    engine = OpenVinoEngine(tiny_artifact, 1)
    first = engine.run(patches(tiny_artifact))
    kept = first.embeddings.copy()
    engine.run(np.zeros_like(patches(tiny_artifact)))
    assert np.array_equal(first.embeddings, kept)


def test_token_embeddings_come_only_when_asked_for(tiny_artifact: Artifact) -> None:
    assert OpenVinoEngine(tiny_artifact, 1).run(patches(tiny_artifact)).tokens is None


ANSWER = """
import sys, numpy as np
from service.model import artifact, engine
loaded = artifact.load(artifact.STARTER)
size = loaded.manifest.backbone.image_size
out = engine.choose(loaded, 1).each[0].run(np.zeros((1, size, size, 3), np.uint8), tokens=True)
assert np.isfinite(out.logits).all()
print(*sorted({"torch", "timm", "openvino_telemetry"} & set(sys.modules)))
"""


def test_an_answer_of_the_starter_takes_no_torch_and_reports_to_nobody() -> None:
    asked = [sys.executable, "-c", ANSWER]
    assert subprocess.run(asked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split() == []
