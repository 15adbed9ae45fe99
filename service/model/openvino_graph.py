"""A plain vision transformer as an OpenVINO graph, straight from an artifact's tensors: no torch, no converter.

uint8 patches in; normed cls tokens and, if asked for, token embeddings out. Normalisation is part of the first matrix,
so that no pass over the pixels is spent on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.artifact import Artifact, Tensors
from service.model.openvino_runtime import openvino, ops
from service.model.plain_transformer import HEAD_DIM, depth_of, require_tensors

EPSILON = 1e-6  # of timm's layer norms
INT8_LEVELS = 256

_EXTREMES = (ops.reduce_min, ops.reduce_max)

Node = Any  # OpenVINO's bindings are untyped


def graph(artifact: Artifact, tokens: bool = False, ranges: Tensors | None = None) -> Any:
    """An openvino.Model: normed cls tokens of the blocks that the head reads, side by side, and N × tokens × dim.

    Without `tokens` the last block answers for the cls token alone, whose keys and values are all it needs: 1.07 times
    as many images/s (ViT-S/16 at 224 px, batch 8). `ranges` (`Artifact.ranges`) makes those matrix products int8
    that have one, and with any of them the first, of the pixels. Raises ArtifactError naming the first tensor that does
    not fit.
    """
    return openvino.Model(*_Graph(artifact, ranges or {}).whole(tokens), "transformer")


def probed_graph(artifact: Artifact) -> tuple[Any, list[str]]:
    """A graph whose outputs are lowest and highest values of the inputs of the blocks' products, channel by channel.

    2 × channels each, over a batch; in the order of the names, which end in .query and .key where both are inputs.
    """
    built = _Graph(artifact, {})
    _, images = built.whole(tokens=True)
    lows_and_highs = [
        ops.concat([ops.unsqueeze(reduce(x, _integers(0, 1), False), _integers(0)) for reduce in _EXTREMES], 0)
        for x in built.inputs.values()
    ]
    return openvino.Model(lows_and_highs, images, "extremes"), list(built.inputs)


class _Graph:
    """What is being built; `inputs` are those of the blocks' matrix products, by name (see `probed_graph`)."""

    def __init__(self, artifact: Artifact, ranges: Tensors) -> None:
        manifest = artifact.manifest
        require_tensors(manifest.backbone, len(manifest.input.bands), artifact.backbone)
        self._manifest, self._weights, self._ranges = manifest, artifact.backbone, ranges
        self._dim, self._heads = manifest.backbone.dim, manifest.backbone.dim // HEAD_DIM
        self.inputs: dict[str, Node] = {}

    def whole(self, tokens: bool) -> tuple[list[Node], list[Node]]:
        """Outputs and inputs."""
        images, x = self._embedded()
        depth, normed = depth_of(self._manifest.backbone), []
        for i in range(depth):
            x = self._block(x, f"blocks.{i}", only_cls=i == depth - 1 and not tokens)
            if i >= depth - self._manifest.head.blocks:
                normed.append(self._norm(x if i == depth - 1 else _cls(x), "norm"))
        cls = ops.concat([ops.reshape(_cls(x), _integers(-1, self._dim), False) for x in normed], 1)
        return [cls, *([_after_cls(normed[-1])] if tokens else [])], [images]

    def _embedded(self) -> tuple[Node, Node]:
        """The parameter, N × S × S × C uint8, and cls and tokens with their positions."""
        spec, given = self._manifest.backbone, self._manifest.input
        size, bands, side = spec.patch_size, len(given.bands), spec.image_size
        images = ops.parameter([-1, side, side, bands], np.uint8, name="images")
        filled = _integers(spec.grid * size, spec.grid * size)  # by tokens; timm, too, leaves the rest out
        cut = ops.slice(images, _integers(0, 0), filled, _integers(1, 1), _integers(1, 2))
        cut = ops.reshape(cut, _integers(-1, spec.grid, size, spec.grid, size * bands), False)
        cut = ops.transpose(cut, _integers(0, 1, 3, 2, 4))
        pixels = ops.reshape(cut, _integers(-1, spec.grid**2, size * size * bands), False)

        mean, std = np.asarray(given.mean)[:, None, None], np.asarray(given.std)[:, None, None]
        weight = self._weights["patch_embed.proj.weight"].astype(np.float64)  # dim × C × size × size
        shift = self._weights["patch_embed.proj.bias"] - (weight * (mean / std)).sum((1, 2, 3))
        of_bytes = (weight / (255 * std)).transpose(0, 2, 3, 1).reshape(spec.dim, -1)
        position = self._weights["pos_embed"].astype(np.float32)
        values, matrix = ops.convert(pixels, "f32"), _constant(of_bytes)
        if self._ranges:
            values, matrix = quantised(values, (0, INT8_LEVELS - 1)), small_matrix(of_bytes)  # as they are
        patches = ops.matmul(values, matrix, False, True) + _constant(shift + position[:, 1:])

        count = ops.gather(ops.shape_of(images), _integers(0), _integers(0))
        cls = _constant(self._weights["cls_token"] + position[:, :1])
        every_cls = ops.broadcast(cls, ops.concat([count, _integers(1, spec.dim)], 0))
        return images, ops.concat([every_cls, patches], 1)

    def _block(self, x: Node, name: str, only_cls: bool) -> Node:
        normed = self._norm(x, f"{name}.norm1")
        if only_cls:
            x = _cls(x)
        x = x + self._attention(_cls(normed) if only_cls else normed, normed, f"{name}.attn")
        hidden = self._linear(self._norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        return x + self._linear(ops.gelu(hidden, "erf"), f"{name}.mlp.fc2")

    def _attention(self, asking: Node, asked: Node, name: str) -> Node:
        smoothing = self._ranges.get(f"{name}.scores.smoothing", np.ones(self._dim, np.float32))
        query = self._linear(asking, f"{name}.qkv", slice(0, self._dim), HEAD_DIM**-0.5 / smoothing)
        key = self._linear(asked, f"{name}.qkv", slice(self._dim, 2 * self._dim), smoothing)
        value = self._linear(asked, f"{name}.qkv", slice(2 * self._dim, None))
        self.inputs |= {f"{name}.scores.query": query, f"{name}.scores.key": key}
        if (limits := self._ranges.get(f"{name}.scores.range")) is not None:
            query, key = quantised(query, limits), quantised(key, limits)
        # Not as scaled_dot_product_attention, whose keys and answers are then turned by passes of their own: 1.02 times
        # as many images/s.
        weights = ops.softmax(ops.matmul(self._split(query), self._split(key), False, True), -1)
        found = ops.transpose(ops.matmul(weights, self._split(value), False, False), _integers(0, 2, 1, 3))
        return self._linear(ops.reshape(found, _integers(0, -1, self._dim), True), f"{name}.proj")

    def _split(self, x: Node) -> Node:
        """N × tokens × dim to N × heads × tokens × HEAD_DIM."""
        return ops.transpose(ops.reshape(x, _integers(0, -1, self._heads, HEAD_DIM), True), _integers(0, 2, 1, 3))

    def _norm(self, x: Node, name: str) -> Node:
        normed = ops.mvn(x, _integers(-1), True, EPSILON, "inside_sqrt")
        return normed * _constant(self._weights[f"{name}.weight"]) + _constant(self._weights[f"{name}.bias"])

    def _linear(
        self, x: Node, name: str, rows: slice = slice(None), factors: NDArray[np.float32] | float = 1.0
    ) -> Node:
        """A matrix product with its bias, its rows multiplied by factors; with a range for its input, of int8."""
        self.inputs.setdefault(name, x)
        weight = (self._weights[f"{name}.weight"][rows].astype(np.float32).T * factors).T
        bias = _constant(self._weights[f"{name}.bias"][rows].astype(np.float32) * factors)
        if (limits := self._ranges.get(f"{name}.range")) is None:
            return ops.matmul(x, _constant(weight), False, True) + bias
        smoothing = self._ranges[f"{name}.smoothing"]
        return (
            ops.matmul(quantised(x * _constant(1 / smoothing), limits), small_matrix(weight * smoothing), False, True)
            + bias
        )


def quantised(x: Node, limits: Sequence[float] | NDArray[np.float32]) -> Node:
    """Values of INT8_LEVELS steps between the limits."""
    low, high = map(_constant, limits)
    return ops.fake_quantize(x, low, high, low, high, INT8_LEVELS)


def small_matrix(weight: NDArray[np.floating]) -> Node:
    """A matrix of int8, each row with a scale of its own."""
    scale = np.maximum(np.abs(weight).max(1, keepdims=True) / 127, 1e-12)
    return ops.convert(ops.constant(np.rint(weight / scale).astype(np.int8)), "f32") * _constant(scale)


def _constant(values: NDArray[Any] | float) -> Node:
    return ops.constant(np.ascontiguousarray(values, dtype=np.float32))


def _integers(*values: int) -> Node:
    return ops.constant(np.asarray(values, np.int64))


def _cls(x: Node) -> Node:
    """N × 1 × dim."""
    return ops.slice(x, _integers(0), _integers(1), _integers(1), _integers(1))


def _after_cls(x: Node) -> Node:
    return ops.slice(x, _integers(1), _integers(2**31), _integers(1), _integers(1))
