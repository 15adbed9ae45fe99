"""The model card as a STAC item with the machine learning model extension: what catalogues of models read.

https://github.com/radiantearth/stac-spec/blob/v1.1.0/item-spec/item-spec.md
https://github.com/stac-extensions/mlm/tree/v1.4.0
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from service.formats import colours
from service.model.artifact import BACKBONE, HEAD, Artifact
from service.model.manifest import Manifest

EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.4.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]")  # mlm:name, as its schema has it
NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_.\-]+")
LICENCE = re.compile(r"[\w\-.+]+")  # SPDX's identifiers look so
SHA2_256 = "1220"  # what a multihash of 32 bytes by SHA-256 begins with
EVER = {"datetime": None, "start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}


def item(artifact: Artifact, engine: str) -> dict[str, Any]:
    """The item of an artifact that `engine` runs: model.json whole, and in the extension's words what those can say.

    `aerial:legend` has the names and colours of maps, in the order of their bands and classes. There is no geometry,
    since the manifest does not say where on Earth the model holds. Hrefs are names within the artifact's folder.
    """
    manifest = artifact.manifest
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": f"{manifest.name}-{artifact.sha256[:12]}",
        "geometry": None,
        "properties": {
            "title": f"{manifest.name} {manifest.version}",
            "description": manifest.description or "Embeddings and land cover of overhead imagery.",
            "license": manifest.licence if LICENCE.fullmatch(manifest.licence) else "other",
            **_dates(manifest.created),
            "bands": _bands(manifest),
            **_model(manifest),
            "aerial:manifest": manifest.model_dump(mode="json"),
            "aerial:sha256": artifact.sha256,
            "aerial:engine": engine,
            "aerial:legend": colours.legend(manifest.labels, manifest.groups),
        },
        "links": [],
        "assets": {name: _asset(name, manifest) for name in manifest.files},
    }


def _bands(manifest: Manifest) -> list[dict[str, Any]]:
    return [{"name": band, "gsd": manifest.input.gsd_m} for band in manifest.input.bands]


def _model(manifest: Manifest) -> dict[str, Any]:
    backbone = manifest.backbone
    return {
        "mlm:name": _name(manifest.name),
        "mlm:architecture": f"Vision Transformer ({backbone.timm}, tokens of {backbone.patch_size} pixels)",
        "mlm:framework": "PyTorch",
        "mlm:tasks": ["scene-classification", "similarity-search"],
        "mlm:pretrained": True,
        "mlm:pretrained_source": ", ".join(manifest.training.stores),
        "mlm:input": [_input(manifest)],
        "mlm:output": [_embedding(manifest), _land_cover(manifest)],
    }


def _name(own: str) -> str:
    return own if NAME.fullmatch(own) else f"model {NOT_IN_A_NAME.sub('-', own)}".rstrip("_.- ")


def _input(manifest: Manifest) -> dict[str, Any]:
    read, side = manifest.input, manifest.backbone.image_size
    return {
        "name": "patch",
        "description": f"{read.patch_px} × {read.patch_px} pixels of {read.gsd_m:g} m; DN is reflectance × 10,000",
        "bands": list(read.bands),
        "input": {
            "shape": [-1, len(read.bands), side, side],
            "dim_order": ["batch", "channel", "height", "width"],
            "data_type": "float32",
        },
        "pre_processing_function": {
            "format": "python",
            "expression": f"numpy.clip(dn / {read.divisor:g} * 255, 0, 255).astype('uint8')",
        },
        "resize_type": "interpolation-cubic",
        "value_scaling": [
            {"type": "z-score", "mean": 255 * mean, "stddev": 255 * std}
            for mean, std in zip(read.mean, read.std, strict=True)
        ],
    }


def _embedding(manifest: Manifest) -> dict[str, Any]:
    return {
        "name": "embedding",
        "tasks": ["similarity-search"],
        "result": _vectors(manifest.embedding.dim, "feature"),
    }


def _land_cover(manifest: Manifest) -> dict[str, Any]:
    """All labels, though each may be there or not beside the others; null is answered for some."""
    legend = colours.legend(manifest.labels, manifest.groups)
    return {
        "name": "probabilities",
        "tasks": ["scene-classification"],
        "result": _vectors(len(manifest.labels), "class"),
        "classification:classes": [
            {"value": i, "name": label.name, "description": label.name, "color_hint": legend[label.name][1:].upper()}
            for i, label in enumerate(manifest.labels)
        ],
    }


def _vectors(length: int, dimension: str) -> dict[str, Any]:
    return {"shape": [-1, length], "dim_order": ["batch", dimension], "data_type": "float32"}


def _asset(name: str, manifest: Manifest) -> dict[str, Any]:
    about = {"href": name, "file:checksum": SHA2_256 + manifest.files[name], "roles": ["metadata"]}
    if name in (BACKBONE, HEAD):
        about |= {"roles": ["mlm:model", "mlm:weights"], "mlm:artifact_type": "safetensors.torch.save_file"}
    # STAC wants the bands of an item's properties in an asset, too; the extension wants them in the properties.
    return {**about, "bands": _bands(manifest)} if name == BACKBONE else about


def _dates(created: str) -> dict[str, str | None]:
    """When the model was made; of all times where the manifest says it in no way that ISO 8601 knows."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return EVER
    utc = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    text = utc.isoformat().replace("+00:00", "Z")
    return {"datetime": text, "created": text}
