"""What the Model Registry is told of an artifact: its figures, its card, and what it reads and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from service.model.artifact import Artifact
from service.model.manifest import Manifest

CONTENT_TYPES = ("image/tiff", "multipart/form-data", "application/json", "application/jsonlines")
RESPONSE_TYPES = (
    *("application/json", "application/jsonlines", "application/x-npy"),
    *("application/geo+json", "application/vnd.apache.parquet", "image/tiff"),
)
FIGURES = ("macro", "micro", "linear_accuracy", "knn_accuracy")
LONGEST_TEXT, LONGEST_NAME, LONGEST_PROPERTY = 1024, 63, 256  # of the card's schema and of the API


def properties(artifact: Artifact) -> dict[str, str]:
    """CustomerMetadataProperties: by `sha256` versions are found again."""
    manifest = artifact.manifest
    said = {"sha256": artifact.sha256, "name": manifest.name, "version": manifest.version, "created": manifest.created}
    tested = next((entry for entry in manifest.metrics if "macro" in entry), None)
    if tested is not None:
        said |= {"macro_average_precision": f"{tested['macro']:.4f}", "store": str(tested["store"])}
        if interval := tested.get("macro_interval"):
            said["macro_interval"] = "{:.4f} {:.4f}".format(*interval)
    return {key: value[:LONGEST_PROPERTY] for key, value in said.items()}


def metrics(manifest: Manifest) -> bytes:
    """metrics.json: the entries of the evaluation, as the artifact keeps them."""
    return json.dumps(list(manifest.metrics), indent=1, ensure_ascii=False).encode()


def card(artifact: Artifact) -> str:
    """Content by the schema for model packages, which knows less than that for model cards."""
    manifest, training = artifact.manifest, artifact.manifest.training
    direct = [label.name for label in manifest.labels if label.is_answered]
    said = {
        "model_overview": {"model_creator": manifest.attribution[:LONGEST_TEXT]},
        "intended_uses": {
            "purpose_of_model": manifest.description or f"{manifest.name}: embeddings and land cover of imagery.",
            "intended_uses": f"Imagery of {manifest.input.gsd_m:g} m with the bands {', '.join(manifest.input.bands)}. "
            f"Tells: {', '.join(direct)}.",
        },
        "training_details": {
            "training_observations": (
                f"DINO on {manifest.backbone.timm}, {training.images} images, {training.epochs:.1f} epochs, "
                f"seed {training.seed}, commit {training.commit}"
            )[:LONGEST_TEXT],
            "training_job_details": {"training_datasets": list(training.stores)},
        },
        "evaluation_details": [_evaluated(entry) for entry in manifest.metrics],
        "additional_information": {
            "custom_details": {
                "name": manifest.name, "version": manifest.version, "sha256": artifact.sha256,
                "licence": manifest.licence,
            }
        },
    }  # fmt: skip
    return json.dumps(said, ensure_ascii=False)


def _evaluated(entry: Mapping[str, Any]) -> dict[str, Any]:
    groups = [{"name": "summary", "metric_data": [_number(key, entry[key], entry) for key in FIGURES if key in entry]}]
    if each := {name: value for name, value in entry.get("per_label", {}).items() if value is not None}:
        told = [{"name": name, "type": "number", "value": value} for name, value in each.items()]
        groups.append({"name": "average precision per label", "metric_data": told})
    return {
        "name": f"{entry['store']}, {entry['split']} split"[:LONGEST_NAME],
        "evaluation_observation": f"{entry['n']} images",
        "metric_groups": groups,
    }


def _number(name: str, value: float, entry: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"name": name, "type": "number", "value": value}
    if interval := entry.get(f"{name}_interval"):
        told["notes"] = "95 % interval {:.4f} to {:.4f}".format(*interval)
    return told
