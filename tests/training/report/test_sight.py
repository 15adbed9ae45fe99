from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from service.model import backbone
from service.model.manifest import BackboneSpec
from training.dino.config import Config
from training.dino.presets import PRESETS
from training.report import choice, neighbours, sight
from training.stores.store import Card, Entry, Row, Source, Store, write


def config() -> Config:
    learning = PRESETS["small"] | {"image_size": 32}
    return Config(stores=("none",), images=1, bands=("B04", "B03", "B02"), seed=0, dtype="float32", **learning)


def test_attention_is_what_the_last_block_mixes_its_tokens_with(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = backbone.build(BackboneSpec(timm="vit_tiny_patch16_224", patch_size=8, dim=192, image_size=32), 3)
    for parameter in model.blocks[-1].attn.parameters():
        torch.nn.init.normal_(parameter, std=0.2)  # far from even
    file = tmp_path / "weights.safetensors"
    save_file({f"teacher.backbone.{name}": value.contiguous() for name, value in model.state_dict().items()}, file)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3), np.uint8)
    seen = sight.look(config(), file, images)
    assert seen.attention.shape == (2, 3, 8, 8)
    assert seen.tokens.shape == (2, 8, 8, 192)
    values = seen.attention.reshape(2, 3, 64)
    assert (values > 0).all()
    assert (values.sum(2) < 1 + 1e-6).all()
    assert values.sum(2).min() < 0.999  # the rest goes to the cls token itself
    assert values.max() > 10 * np.median(values)

    given: list[torch.Tensor] = []
    enlarged = backbone.build(config().spec, 3, dynamic_img_size=True).eval()
    enlarged.load_state_dict(model.state_dict())
    attn = enlarged.blocks[-1].attn
    attn.register_forward_hook(lambda _, entering, leaving: given.extend((entering[0], leaving)))
    with torch.inference_mode():
        resized = np.stack([sight.resize(image, 64) for image in images])
        enlarged(torch.from_numpy(sight.normalise(resized, *config().mean_and_std)))
        entering, leaving = given
        value = attn.qkv(entering)[:, :, 2 * 192 :].unflatten(2, (3, 64)).transpose(1, 2)
        to_tokens = torch.from_numpy(values)
        weights = torch.cat([1 - to_tokens.sum(2, keepdim=True), to_tokens], 2)
        mixed = torch.einsum("bht,bhtd->bhd", weights, value).flatten(1)
        torch.testing.assert_close(attn.proj(mixed), leaving[:, 0], rtol=1e-4, atol=1e-4)


def test_tokens_that_are_alike_are_of_one_colour() -> None:
    chance = np.random.default_rng(0)
    kinds = chance.integers(0, 4, (3, 6, 6))
    tokens = chance.normal(0, 1, (4, 32))[kinds].astype(np.float32)
    colours = sight.principal_colours(tokens)
    assert colours.shape == (3, 6, 6, 3)
    assert (colours.min(), colours.max()) == (0, 1)
    centres = np.stack([colours[kinds == kind].mean(0) for kind in range(4)])
    assert np.abs(colours - centres[kinds]).max() < 1e-5
    assert min(np.abs(centres[a] - centres[b]).max() for a in range(4) for b in range(a)) > 0.2
    assert np.array_equal(sight.principal_colours(tokens), colours)


def store(folder: Path, labels: Sequence[tuple[str, ...]]) -> Store:
    names = tuple(sorted({name for said in labels for name in said}))
    card = Card("made", (4, 4, 3), ("B04", "B03", "B02"), 10, {"divisor": 2000}, names)
    rows = tuple(Row(str(i), "test", said) for i, said in enumerate(labels))
    images = (np.zeros((4, 4, 3), np.uint8),) * len(rows)
    write(folder, Source(card, ["all"], lambda _: [Entry("all", images, rows)]))
    return Store.open(folder)


def test_patches_are_spread_over_rare_labels_too(tmp_path: Path) -> None:
    made = store(tmp_path / "store", [("common",)] * 50 + [("rare",), ("both", "common"), ()])
    chosen = choice.spread(made, choice.held_out(made), 4)
    assert {choice.title(made, int(i)) for i in chosen[:3]} >= {"rare", "no label"}
    assert len(set(chosen.tolist())) == 4
    assert np.array_equal(chosen, choice.spread(made, choice.held_out(made), 4))
    assert len(choice.spread(made, np.arange(3), 10)) == 3


def test_neighbours_are_the_most_similar_whatever_their_length() -> None:
    bank = np.eye(6, dtype=np.float32) * np.asarray([[1], [9], [2], [3], [4], [5]], np.float32)
    query = np.asarray([[0.5, 3, 1, 0.3, 0.2, 0.1]], np.float32)
    (found,) = neighbours.nearest(bank, query, np.arange(10, 16))
    assert [neighbour.position for neighbour in found] == [11, 12, 10, 13, 14]
    assert found[0].cosine == np.float32(3 / np.linalg.norm(query))


def test_a_neighbour_is_right_partly_or_wrong() -> None:
    assert neighbours.verdict(("a", "b"), ("b", "a")) == "right"
    assert neighbours.verdict(("a", "b"), ("b", "c")) == "partly"
    assert neighbours.verdict(("a",), ("c",)) == "wrong"
    assert neighbours.verdict((), ()) == "right"
