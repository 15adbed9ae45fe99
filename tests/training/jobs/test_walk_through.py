"""What was wrong in the walk-through that this project replaces: each fault has a test that fails with it put back."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch

from deploy.account import Account
from service.model import artifact as artifacts
from service.model.artifact import Artifact
from service.model.manifest import Label
from tests.conftest import ROOT
from tests.deploy.conftest import BUCKET
from tests.imagery import RGB, geotiff, read
from tests.ports import HeldPort
from tests.sagemaker.platform import Platform
from tests.training.jobs.conftest import Say, objects
from tests.training.jobs.test_upload import patch
from training import distributed, gate
from training.distributed import Place
from training.probe import supervision
from training.run import main
from training.stores.bigearthnet_lists import Facts
from training.stores.bigearthnet_patches import PatchFolder, PatchReader
from training.stores.stacking import stack
from training.stores.store import Store

TOGETHER = """
from training import distributed
import torch
with distributed.started("gloo") as workers:
    print(int(workers.sum(torch.ones(1)).item()), "of", workers.place.world, "rank", workers.place.rank, flush=True)
"""
COMMANDS = {
    "pretrain": ("pretrain", "tiles"),
    "probe": ("probe", "mosaics"),
    "evaluate": ("evaluate", "mosaics", "tiles"),
    "report": ("report", "--stores", "mosaics"),
    "package": ("package", "--name", "ours"),
    "refresh": ("refresh", "tiles", "--probe-store", "mosaics", "--name", "ours"),
}


@pytest.fixture(scope="module")
def run(stores: Account, platform: Platform) -> str:
    """A run of which S3 has just enough to let commands begin."""
    for name, content in (("config.json", b"{}"), ("checkpoints/step_00000001.safetensors", b"")):
        platform.client("s3").put_object(Bucket=stores.bucket, Key=f"runs/walk/{name}", Body=content)
    return "walk"


@pytest.fixture(scope="module")
def requests(run: str) -> dict[str, dict[str, Any]]:
    """The training jobs that commands would ask for, by command."""
    told = {}
    for command, line in COMMANDS.items():
        where = f"{run}-new" if command in ("pretrain", "refresh") else run
        with redirect_stdout(StringIO()) as out:
            assert main([*line, "--run", where, "--on", "sagemaker", "--dry-run"]) == 0
        calls = [json.loads(line) for line in out.getvalue().splitlines()]
        (told[command],) = (call["request"] for call in calls if call["operation"] == "CreateTrainingJob")
    return told


def test_1_the_brightest_value_is_255_not_225() -> None:
    (found,) = read(geotiff(np.full((3, 120, 120), 60_000, np.uint16), names=RGB.bands))
    assert found.pixels.min() == found.pixels.max() == 255


def test_2_processes_that_mpi_starts_know_how_many_they_are_and_which() -> None:
    port = HeldPort()
    with_mpi = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "MASTER_PORT": str(port.number)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER], text=True, stdout=subprocess.PIPE, cwd=ROOT,
            env=os.environ | with_mpi | {"OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_LOCAL_RANK": rank},
        )
        for rank in "01"
    ]  # fmt: skip
    assert [process.communicate(timeout=240)[0].strip() for process in started] == ["2 of 2 rank 0", "2 of 2 rank 1"]
    port.close()


def test_2_each_process_takes_the_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    with distributed.started("auto", Place(local_rank=3, local_world=4)) as workers:
        assert [workers.device] == taken == [torch.device("cuda", 3)]


def test_2_asking_for_smddp_imports_it(smddp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(smddp))
    assert distributed.choose_backend("smddp", cuda=True) == "smddp"
    assert distributed.SMDDP in sys.modules


def test_3_patterns_of_bands_match_files(platform: Platform, say: Say, tmp_path: Path) -> None:
    names = [patch(tmp_path / "patches", number).name for number in range(2)]
    assert say("upload", "bands", tmp_path / "patches", "--name", "walk", "--bands", "B04,B03,B02")[0] == 0
    sent = [key for key in objects(platform, "tiles/walk/") if key.endswith(".tif")]
    assert sent == [f"{name}/{name}_{band}.tif" for name in names for band in ("B02", "B03", "B04")]


def test_4_every_job_has_a_name_that_says_whose_it_is(requests: dict[str, dict[str, Any]], stores: Account) -> None:
    for command, request in requests.items():
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", request["TrainingJobName"])
        assert request["TrainingJobName"].startswith(f"{stores.stack}-")
        assert f"-{command}-" in request["TrainingJobName"]


def test_5_every_channel_that_a_command_reads_is_one_that_its_job_has(requests: dict[str, dict[str, Any]]) -> None:
    for request in requests.values():
        read = set(re.findall(r"/opt/ml/input/data/(\w+)", " ".join(request["HyperParameters"].values())))
        assert read == {channel["ChannelName"] for channel in request["InputDataConfig"]} - {"code", "sm_drivers"}
    assert len(requests["refresh"]["InputDataConfig"]) == 4


def test_6_all_jobs_of_a_run_keep_it_in_one_place(
    requests: dict[str, dict[str, Any]], run: str, stores: Account
) -> None:
    for command, request in requests.items():
        name = f"{run}-new" if command in ("pretrain", "refresh") else run
        kept = {"S3Uri": f"s3://{stores.bucket}/runs/{name}/", "LocalPath": "/opt/ml/checkpoints"}
        assert request["CheckpointConfig"] == kept


def test_7_where_upload_puts_a_store_is_where_jobs_look_for_it(
    platform: Platform, requests: dict[str, dict[str, Any]]
) -> None:
    channels = requests["pretrain"]["InputDataConfig"]
    (place,) = (
        channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in channels if channel["ChannelName"] == "tiles"
    )
    there = objects(platform, place.removeprefix(f"s3://{BUCKET}/"))
    assert there == ["images.npy", "index.parquet", "store.json"]


def test_8_files_that_were_read_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    real = rasterio.open

    def remembered(*what: Any, **how: Any) -> Any:
        opened.append(real(*what, **how))
        return opened[-1]

    monkeypatch.setattr(rasterio, "open", remembered)
    folder = PatchFolder(patch(tmp_path, 1), Facts())
    stack(folder.path, RGB.bands)
    (entry,) = PatchReader(RGB, version=1)([folder])
    assert entry.images
    assert len(opened) >= 3
    assert all(dataset.closed for dataset in opened)


def test_9_labels_are_known_by_name_in_whatever_order_they_stand(
    mosaics: Path, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    store = Store.open(mosaics)
    names, chance = list(store.card.labels), np.random.default_rng(0)
    head = {
        "weight": chance.normal(0, 0.1, (len(names), 192)).astype(np.float32),
        "bias": np.zeros(len(names), np.float32),
    }

    def ordered(order: list[int]) -> Artifact:
        labels = tuple(Label(name=names[i], threshold=0.5, supervision=("direct",)) for i in order)
        manifest = tiny_artifact.manifest.model_copy(update={"labels": labels, "groups": ()})
        own = {key: value[order] for key, value in head.items()}
        return artifacts.save(tmp_path / str(order[0]), manifest, tiny_artifact.backbone, own)

    test = store.of_split("test")[:16]
    known = supervision.read(store.card, store.rows, store.of_split("train")).of(test)
    asked = [name for name in known.labels if name in names]
    one, other = (
        gate.answers(ordered(order), store, test, known, asked)
        for order in (list(range(len(names))), list(reversed(range(len(names)))))
    )
    assert np.allclose(one.probabilities, other.probabilities)
