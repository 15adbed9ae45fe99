"""The model card, by STAC's own schema and the reference implementation of its extension for models."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pystac
import pytest
from pystac.validation import JsonSchemaSTACValidator
from pystac.validation.schema_uri_map import DefaultSchemaUriMap
from stac_model.schema import MLModelProperties

from service.formats import stac
from service.model import artifact as artifacts
from service.model.artifact import Artifact


def card(artifact: Artifact, **changes: Any) -> dict[str, Any]:
    """As a client gets it."""
    manifest = artifact.manifest.model_copy(update=changes)
    changed = Artifact(artifact.path, manifest, artifact.sha256, {})
    said: dict[str, Any] = json.loads(json.dumps(stac.item(changed, "openvino-int8")))
    return said


def refused(item: dict[str, Any]) -> bool:
    """By the core schema, which pystac brings, or by the extension's model."""
    try:
        JsonSchemaSTACValidator(DefaultSchemaUriMap()).validate_core(item, pystac.STACObjectType.ITEM, "1.1.0")
        MLModelProperties.model_validate(item["properties"])
    except (pystac.STACValidationError, ValueError):
        return True
    return False


@pytest.fixture(scope="module")
def starter() -> Artifact:
    return artifacts.load(artifacts.STARTER)


def test_it_is_a_valid_stac_item_with_a_valid_model(starter: Artifact, tiny_artifact: Artifact) -> None:
    for artifact in (starter, tiny_artifact):
        assert not refused(card(artifact))


def test_what_judges_it_refuses_what_is_wrong(starter: Artifact) -> None:
    for name, wrong in {"datetime": None, "mlm:tasks": ["guessing"], "mlm:input": [{"name": "patch"}]}.items():
        item = card(starter)
        item["properties"][name] = wrong
        assert refused(item), name


def test_it_holds_the_whole_manifest_and_the_digest_of_each_file(starter: Artifact) -> None:
    item = card(starter)
    assert item["properties"]["aerial:manifest"] == starter.manifest.model_dump(mode="json")
    assert list(item["properties"]["aerial:legend"])[-2:] == ["Forest (any)", "Water (any)"]
    assert set(item["assets"]) == set(starter.manifest.files)
    assert item["assets"]["head.safetensors"]["file:checksum"].endswith(starter.manifest.files["head.safetensors"])


def test_its_reader_finds_bands_sizes_and_labels_in_their_order(starter: Artifact) -> None:
    from pystac.extensions.mlm import MLMExtension

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLMExtension.ext(pystac.Item.from_dict(card(starter)))
    (read,) = model.input
    assert (read.bands, read.input.shape) == (["B04", "B03", "B02"], [-1, 3, 112, 112])
    embedding, cover = model.output
    assert (embedding.result.shape, cover.result.shape) == ([-1, 192], [-1, 19])
    classes = cover.properties["classification:classes"]
    assert [one["name"] for one in classes] == [label.name for label in starter.manifest.labels]
    assert classes[0]["color_hint"] == "E6004D"


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": name} for name in ("7", "b-", "Wälder/2", "森林")),
        {"licence": "ask us, please"},
        *({"created": when} for when in ("yesterday", "2026-11-21")),
    ],
)
def test_whatever_people_call_things_the_card_is_valid(starter: Artifact, changes: dict[str, str]) -> None:
    item = card(starter, **changes)
    assert not refused(item)
    assert stac.NAME.fullmatch(item["properties"]["mlm:name"])
