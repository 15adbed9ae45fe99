"""The whole line with all twelve bands of BigEarthNet: only another --bands, only another artifact."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.model.artifact import load
from tests.benchmarks.prepare import GRIDS_M, make_tree
from tests.conftest import StartService
from tests.imagery import geotiff
from tests.training.conftest import TINY
from training import run as command
from training.probe.features import cached
from training.probe.train import teacher
from training.runs import Run
from training.stores.store import Store

BANDS = tuple(GRIDS_M)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree, its store and a run that went through every command."""
    folder = tmp_path_factory.mktemp("bands")
    make_tree(folder / "tree", 96, list(BANDS))
    names = sorted(patch.name for patch in (folder / "tree").iterdir())
    (folder / "splits").mkdir()
    for split, some in (("train", names[::2]), ("val", names[1::4]), ("test", names[3::4])):
        (folder / "splits" / f"{split}.csv").write_text("".join(f"{name}\n" for name in some))
    tree, store, run = str(folder / "tree"), str(folder / "store"), ["--run", str(folder / "run")]
    asked = [
        ["prepare", "bigearthnet-v1", tree, "--splits", str(folder / "splits"), "--bands", ",".join(BANDS)],
        ["pretrain", store, *TINY, *run],
        ["probe", store, *run],
        ["evaluate", store, *run],
        ["package", "--name", "twelve", *run],
    ]
    asked[0] += ["--out", store]
    for arguments in asked:
        assert command.main(arguments) == 0
    return folder


def test_bands_travel_by_name_from_files_to_artifact(made: Path) -> None:
    assert Store.open(made / "store").images.shape == (96, 120, 120, 12)
    manifest = load(made / "run" / "artifact").manifest
    assert (manifest.input.bands, manifest.input.divisor) == (BANDS, 5000)
    assert len(manifest.input.mean) == len(manifest.input.std) == 12
    assert {entry["representation"] for entry in json.loads((made / "run" / "evaluation.json").read_text())} == {
        "image statistics",
        "untrained",
        "run",
    }


def test_the_service_reads_twelve_bands_as_training_did(made: Path, start: StartService) -> None:
    service = start(made / "run" / "artifact")
    store = Store.open(made / "store")
    kept = cached(teacher(Run(made / "run"), "cls"), store, made / "run" / "features")
    service.wait_until_ready()
    name = store.rows[5].patch_id
    paths = {band: made / "tree" / name / f"{name}_{band}.tif" for band in reversed(BANDS)}
    files = {band: (path.name, path.read_bytes(), "image/tiff") for band, path in paths.items()}
    answer = httpx.post(f"{service.url}/invocations", files=files, timeout=60)
    embedding = np.asarray(answer.json()["predictions"][0]["embedding"])
    assert similarity(embedding, kept[5]) >= 0.99999

    pixels = store.images[5].transpose(2, 0, 1)[::-1]  # on one grid, as a single file has them
    answer = service.post(geotiff(pixels, names=BANDS[::-1]))
    prediction = answer.json()["predictions"][0]
    assert similarity(np.asarray(prediction["embedding"]), kept[5]) >= 0.99999
    assert prediction["radiometry"]["bands"] == list(BANDS)
    assert prediction["probabilities"]["Pastures"] is not None

    refused = service.post(geotiff(pixels[:3]))
    assert refused.status_code == 422
    assert refused.json()["code"] == "band_count"


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
