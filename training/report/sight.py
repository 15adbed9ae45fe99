"""What the teacher looks at and what it sees: attention of its last block, embeddings of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from service.imagery.resize import normalise, resize
from service.model import backbone
from training.dino import checkpoint
from training.dino.config import Config
from training.report import choice, pictures
from training.report.markup import Markup, figure, joined, tag
from training.stores.store import Store

SHOWN, ATTENDED = 12, 4  # patches
ACROSS = 8  # maps in a row at most
ENLARGED = 2  # twice the model's size: tokens half as large show more than it sees at once, and the same things


@dataclass(frozen=True)
class Sight:
    """Of N patches in h × w tokens."""

    attention: NDArray[np.float32]  #: N × heads × h × w: from the cls token of the last block; a head sums to at most 1
    tokens: NDArray[np.float32]  #: N × h × w × dim, normed


@torch.inference_mode()
def look(config: Config, weights: Path, images: NDArray[np.uint8]) -> Sight:
    """Through the teacher of a checkpoint at N × H × W × C."""
    model = backbone.build(config.spec, len(config.bands), dynamic_img_size=True)
    model.load_state_dict({name: tensor.float() for name, tensor in checkpoint.teacher_backbone(weights).items()})
    last = model.eval().blocks[-1].attn
    entering: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, given: entering.append(given[0]))
    size = ENLARGED * config.image_size
    batch = normalise(np.stack([resize(image, size) for image in images]), *config.mean_and_std)
    _, tokens = backbone.cls_and_tokens(model, torch.from_numpy(batch), 1)
    side, x = size // config.patch_size, entering[0]
    query, key, _ = last.qkv(x).unflatten(2, (3, last.num_heads, -1)).permute(2, 0, 3, 1, 4)
    from_cls = last.q_norm(query)[:, :, :1] @ last.k_norm(key).transpose(2, 3) * last.scale
    attention = from_cls.softmax(3)[:, :, 0, 1:].unflatten(2, (side, side))
    return Sight(attention.numpy(), tokens.unflatten(1, (side, side)).numpy())


def principal_colours(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """N × h × w × dim to N × h × w × 3, 0–1: first three principal components over all tokens.

    Each runs from its 1st to its 99th percentile; its sign is such that the largest loading is positive.
    """
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    flat -= flat.mean(0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    first = directions[:, :-4:-1]
    first = first * np.sign(first[np.abs(first).argmax(0), range(3)])
    components = flat @ first
    low, high = np.percentile(components, (1, 99), axis=0)
    scaled: NDArray[np.float64] = np.clip((components - low) / np.maximum(high - low, 1e-12), 0, 1)
    return scaled.astype(np.float32).reshape(*tokens.shape[:-1], 3)


def figures(config: Config, weights: Path, store: Store) -> Markup:
    """Attention maps and colours of the token embeddings, over patches spread over the labels."""
    chosen = choice.spread(store, choice.held_out(store), SHOWN)
    images = np.asarray(store.images[chosen])
    seen = look(config, weights, images)
    said = [choice.title(store, i) for i in chosen]
    patches = [pictures.patch(image, store.card.bands, name) for image, name in zip(images, said, strict=True)]
    return joined([_attention(config, seen, patches, said), _colours(config, seen, patches, said)])


def _attention(config: Config, seen: Sight, patches: Sequence[Markup], said: Sequence[str]) -> Markup:
    strips = []
    for patch, of_patch, name in list(zip(patches, seen.attention, said, strict=True))[:ATTENDED]:
        maps: list[tuple[str, Any]] = [("mean", of_patch.mean(0))]
        maps += [(f"head {number}", of_head) for number, of_head in enumerate(of_patch, 1)]
        cells = [_cell("patch", patch), *(_cell(of, pictures.heat(map_, f"{of}: {name}")) for of, map_ in maps)]
        rows = -(-len(cells) // ACROSS)
        strip = tag("div", *cells, class_="strip", style=f"--across:{-(-len(cells) // rows)}")
        strips.append(tag("div", tag("h3", name), strip))
    caption = (
        f"What the teacher attends to: the attention from the cls token to each token in the last of its blocks, in "
        f"the mean and for each of its {seen.attention.shape[1]} heads, from none (dark) to what one token in a "
        f"hundred exceeds (light), map by map. {_size(config, seen)}"
    )
    return figure(tag("div", *strips, class_="strips"), caption=caption)


def _colours(config: Config, seen: Sight, patches: Sequence[Markup], said: Sequence[str]) -> Markup:
    pairs = []
    for patch, of_patch, name in zip(patches, principal_colours(seen.tokens), said, strict=True):
        pictured = pictures.colours(of_patch, f"token embeddings: {name}")
        pairs.append(tag("div", tag("div", patch, pictured, class_="pair"), tag("p", name, class_="name")))
    caption = (
        f"What the teacher tells apart: the first three principal components of the token embeddings over all "
        f"{len(pairs)} patches together, as red, green and blue. Tokens that it takes for alike are of one colour, "
        f"in whichever patch they are. {_size(config, seen)}"
    )
    return figure(tag("div", *pairs, class_="pairs"), caption=caption)


def _cell(name: str, picture: Markup) -> Markup:
    return tag("div", picture, tag("small", name))


def _size(config: Config, seen: Sight) -> str:
    side = seen.attention.shape[-1]
    return (
        f"Patches were enlarged to {ENLARGED * config.image_size} px for this, {ENLARGED} times the size that the "
        f"model is served at: {side} × {side} tokens of {config.patch_size} px."
    )
