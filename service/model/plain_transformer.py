"""Which backbones are the plain vision transformer of the paper (Dosovitskiy et al. 2021), and what tensors it has.

Their shapes tell everything but the number of heads and the depth, which timm's names do: these four have heads of
64 dimensions, GELU and layer norms with ε = 1e-6, and nothing else (no layer scale, no register tokens).
"""

from __future__ import annotations

import re

from service.model.artifact import ArtifactError, Tensors
from service.model.manifest import BackboneSpec

HEAD_DIM = 64
_PLAIN = re.compile(r"vit_(tiny|small|base|large)_patch\d+_\d+(\.[a-z0-9_]+)?")
_DIM_AND_DEPTH = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}


def is_plain(spec: BackboneSpec) -> bool:
    """True for timm's plain vision transformers, of any patch and image size."""
    return _PLAIN.fullmatch(spec.timm) is not None


def depth_of(spec: BackboneSpec) -> int:
    """Blocks of a plain one."""
    return _dim_and_depth(spec)[1]


def require_tensors(spec: BackboneSpec, bands: int, tensors: Tensors) -> None:
    """Raises ArtifactError that names the first tensor that is missing, extra or of another shape."""
    dim, _ = _dim_and_depth(spec)
    if dim != spec.dim:
        raise ArtifactError(f"{spec.timm} is {dim} wide, the manifest says {spec.dim}")
    own = _shapes(spec, bands)
    if missing := sorted(own.keys() - tensors.keys()):
        raise ArtifactError(f"backbone has no tensor {missing[0]} ({len(missing)} missing)")
    if extra := sorted(tensors.keys() - own.keys()):
        raise ArtifactError(f"backbone has a tensor that {spec.timm} has not: {extra[0]} ({len(extra)} extra)")
    for name, shape in own.items():
        if tensors[name].shape != shape:
            raise ArtifactError(f"backbone: {name} is {tensors[name].shape}, not {shape}")


def _dim_and_depth(spec: BackboneSpec) -> tuple[int, int]:
    if not (found := _PLAIN.fullmatch(spec.timm)):
        raise ArtifactError(f"{spec.timm} is no plain vision transformer; the torch engine runs it")
    return _DIM_AND_DEPTH[found[1]]


def _shapes(spec: BackboneSpec, bands: int) -> dict[str, tuple[int, ...]]:
    dim = spec.dim
    products = {
        "attn.qkv": (3 * dim, dim), "attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)
    }  # fmt: skip
    vectors = {f"{name}.bias": rows for name, (rows, _) in products.items()}
    vectors |= {f"{norm}.{part}": dim for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    outer: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, dim),
        "pos_embed": (1, 1 + spec.grid**2, dim),
        "patch_embed.proj.weight": (dim, bands, spec.patch_size, spec.patch_size),
        "patch_embed.proj.bias": (dim,),
        "norm.weight": (dim,),
        "norm.bias": (dim,),
    }
    for i in range(depth_of(spec)):
        outer |= {f"blocks.{i}.{name}.weight": shape for name, shape in products.items()}
        outer |= {f"blocks.{i}.{name}": (width,) for name, width in vectors.items()}
    return outer
