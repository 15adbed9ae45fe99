"""The artifact that comes with the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.model.artifact import STARTER, load
from tests.conftest import ROOT, Service, StartService
from training.stores.nomenclature import BIGEARTHNET_19

SNOW = "S2B_MSIL2A_20180204T94161_57_38"  # reflects a third of the light in all bands
FLOORS = {"linear_accuracy": 0.727}  # colour statistics on EuroSAT's test split; an untrained ViT reaches 0.70


@pytest.fixture
def starter(start: StartService) -> Service:
    service = start(STARTER, ENGINE="auto")
    service.wait_until_ready()
    return service


def test_it_is_small_verified_and_called_a_starter() -> None:
    manifest = load(STARTER).manifest
    assert "starter" in manifest.name
    card = (STARTER / "card.md").read_text()
    assert "starter" in manifest.description
    assert manifest.description in card
    assert "training/run.py" in card
    assert sum(file.stat().st_size for file in STARTER.rglob("*") if file.is_file()) < 50e6


def test_it_names_the_19_labels_and_owns_up_to_what_it_was_never_shown() -> None:
    manifest = load(STARTER).manifest
    assert tuple(label.name for label in manifest.labels) == BIGEARTHNET_19
    told = {label.name for label in manifest.labels if label.is_answered}
    assert told == {
        "Urban fabric", "Industrial or commercial units", "Arable land", "Permanent crops", "Pastures",
        "Natural grassland and sparsely vegetated areas", "Inland waters",
    }  # fmt: skip
    assert {group.name for group in manifest.groups} == {"Forest (any)", "Water (any)"}


def test_it_was_measured_above_the_floors() -> None:
    measured = {key: value for entry in load(STARTER).manifest.metrics for key, value in entry.items()}
    for figure, floor in FLOORS.items():
        assert measured[figure] > floor


def test_it_answers_the_example_with_numbers_or_null_and_a_place_on_the_map(starter: Service) -> None:
    answer = starter.post((ROOT / "examples" / "synthetic_tile.tif").read_bytes())
    (prediction,) = answer.json()["predictions"]
    assert np.isfinite(prediction["embedding"]).all()
    assert list(prediction["probabilities"]) == list(BIGEARTHNET_19)
    assert sum(p is None for p in prediction["probabilities"].values()) == 12
    assert set(prediction["groups"]) == {"Forest (any)", "Water (any)"}
    longitude, latitude = prediction["footprint"]["coordinates"][0][0]
    assert (longitude, latitude) == pytest.approx((13.7, 48.2), abs=0.1)
    assert prediction["warnings"] == []


def test_all_real_bigearthnet_patches_are_answered_as_forms_of_band_files(starter: Service, shared_data: Path) -> None:
    import httpx

    patches = sorted((shared_data / "bigearthnet" / "v1").iterdir())
    assert len(patches) == 14
    for patch in patches:
        files = {f"file{i}": (file.name, file.read_bytes()) for i, file in enumerate(sorted(patch.glob("*.tif")))}
        answer = httpx.post(f"{starter.url}/invocations", files=files, timeout=60)
        assert answer.status_code == 200, answer.text
        (prediction,) = answer.json()["predictions"]
        assert prediction["id"] == patch.name
        assert [warning["code"] for warning in prediction["warnings"]] == ["saturated"] * (patch.name == SNOW)
        assert len(prediction["footprint"]["coordinates"][0]) == 5
