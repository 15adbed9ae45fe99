"""From an empty account to what is served, and back to an empty account: every command as people type it."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.__main__ import main as deploy_main
from service.model.artifact import load
from tests.deploy.conftest import BUCKET, STACK, push_image
from tests.imagery import geotiff, reflectance
from tests.sagemaker import golden
from tests.sagemaker.batch_transform import TransformJob
from tests.sagemaker.platform import Platform
from tests.training.conftest import TINY
from training import run as training

OBJECTS = 500
BAD = {17: b"no GeoTIFF", 250: geotiff(reflectance())[:700], 499: geotiff(reflectance(side=8)[:, :7])}
MACHINE = ("--on", "sagemaker", "--instance-type", "ml.m5.xlarge")
Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Carries out a command line of `deploy` or `training/run.py`; gives its exit code and what it printed."""

    def run(program: str, *words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = {"deploy": deploy_main, "train": training.main}[program]([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def with_wrong_labels(store: Path, folder: Path) -> Path:
    """A store whose labels are those of other images, but for the test split."""
    shutil.copytree(store, folder)
    index = pq.read_table(folder / "index.parquet")
    learnt = np.flatnonzero(np.array(index["split"].to_pylist()) != "test")
    rows = np.arange(len(index))
    rows[learnt] = np.random.default_rng(0).permutation(learnt)
    for name in ("labels", "any_of"):
        index = index.set_column(
            index.column_names.index(name), index.schema.field(name), index[name].take(pa.array(rows))
        )
    pq.write_table(index, folder / "index.parquet")
    return folder


def served(platform: Platform) -> str:
    """Where the model.tar.gz lies that the endpoint serves."""
    sagemaker = platform.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    where: str = sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelDataUrl"]
    return where


def versions(platform: Platform) -> list[Any]:
    found: list[Any] = platform.client("sagemaker").list_model_packages(ModelPackageGroupName=STACK)[
        "ModelPackageSummaryList"
    ]
    return found


def left(platform: Platform) -> dict[str, list[str]]:
    """All that exists in the account, as its APIs list it."""
    listings = {
        "sagemaker": {
            "list_endpoints": "EndpointName",
            "list_endpoint_configs": "EndpointConfigName",
            "list_models": "ModelName",
            "list_model_package_groups": "ModelPackageGroupName",
            "list_training_jobs": "TrainingJobName",
            "list_processing_jobs": "ProcessingJobName",
        },
        "application-autoscaling": {"describe_scalable_targets": "ResourceId"},
        "cloudwatch": {"describe_alarms": "AlarmName"},
        "ecr": {"describe_repositories": "repositoryName"},
        "s3": {"list_buckets": "Name"},
        "iam": {"list_roles": "RoleName"},
        "cloudformation": {"describe_stacks": "StackName"},
    }
    found: dict[str, list[str]] = {}
    for service, operations in listings.items():
        for operation, key in operations.items():
            asked = {"ServiceNamespace": "sagemaker"} if service == "application-autoscaling" else {}
            told = getattr(platform.client(service), operation)(**asked)
            names = [thing[key] for things in told.values() if isinstance(things, list) for thing in things]
            found |= {operation: names} if names else {}
    return found


def test_set_up_train_serve_transform_renew_and_tear_down(
    platform: Platform, say: Say, tiles: Path, mosaics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # `watch` keeps its pictures here
    s3 = platform.client("s3")

    def done(program: str, *words: object) -> str:
        code, said = say(program, *words)
        assert code == 0, said
        return said

    done("deploy", "setup")
    push_image(platform)  # as `image` does where there is a Docker engine
    wrong = with_wrong_labels(mosaics, tmp_path / "wrong")
    for store in (tiles, mosaics, wrong):
        done("train", "upload", "store", store)

    done("train", "pretrain", "tiles", "--run", "first", *TINY, *MACHINE, "--instance-count", 2)
    assert "2 processes over gloo" in "\n".join(platform.lines("TrainingJobs", STACK))
    done("train", "probe", "wrong", "--run", "first", *MACHINE)
    assert "macro AP" in done("train", "evaluate", "wrong", "--run", "first", "--rows", "ours", *MACHINE)
    done("train", "package", "--run", "first", "--name", "land", "--version", 1, *MACHINE)
    packaged = platform.requests("CreateTrainingJob")[-1]["TrainingJobName"]

    model = f"s3://{BUCKET}/jobs/{packaged}/output/model.tar.gz"
    assert f"{STACK} (realtime) serves version 1" in done("deploy", "endpoint", model)
    (tmp_path / "tile.tif").write_bytes(geotiff(reflectance()))
    assert "48.22" in done("deploy", "invoke", tmp_path / "tile.tif")

    some = [geotiff(reflectance(seed=seed), compress="deflate") for seed in range(8)]
    for i in range(OBJECTS):
        s3.put_object(Bucket=BUCKET, Key=f"tiles/many/{i:03}.tif", Body=BAD.get(i, some[i % 8]))
    said = done("deploy", "transform", f"s3://{BUCKET}/tiles/many/", "--instances", 2)
    job = platform.job(platform.requests("CreateTransformJob")[0]["TransformJobName"])
    assert isinstance(job, TransformJob)
    assert [(used.concurrent, used.strategy) for used in job.used] == [(16, "SingleRecord")] * 2
    assert f"{OBJECTS} of {OBJECTS} answered" in said
    said = done("deploy", "collect", job.name, "--to", tmp_path / "land.parquet")
    rows = pq.read_table(tmp_path / "land.parquet", columns=["source", "error"])
    assert len({uri for uri, error in zip(*map(list, rows.to_pydict().values()), strict=True) if not error}) == 497
    failures = [json.loads(line) for line in (tmp_path / "land.failures.jsonl").read_text().splitlines()]
    assert {failure["source"]: failure["code"] for failure in failures} == {
        f"s3://{BUCKET}/tiles/many/{i:03}.tif": code
        for i, code in zip(BAD, ("not_a_tiff", "truncated", "too_small"), strict=True)
    }
    with (tmp_path / "labels.csv").open("w") as file:
        names = ("Urban fabric", "Pastures", "Arable land")
        csv.writer(file).writerows([("file", "labels"), *((f"{i:03}", names[i % 3]) for i in range(OBJECTS))])
    said = done("train", "evaluate", tmp_path / "labels.csv", "--predictions", tmp_path / "land.parquet")
    assert "Urban fabric" in said

    refresh = ("refresh", "tiles", "--name", "land", *TINY, *MACHINE)
    poor = served(platform)
    said = done("train", *refresh, "--probe-store", "mosaics", "--run", "better", "--version", 2)
    assert "not worse beyond chance" in said
    better = served(platform)
    assert better != poor
    code, said = say("train", *refresh, "--probe-store", "wrong", "--run", "worse", "--version", 3)
    assert (code, "worse beyond chance" in said) == (3, True), said
    assert served(platform) == better
    assert len(versions(platform)) == 2
    assert load_version(platform, better, tmp_path) == "2"

    assert STACK in done("deploy", "status")
    golden.compare(platform.calls, "whole_line.json")
    said = done("deploy", "teardown", "--yes")
    assert f"Nothing of the stack {STACK} is left" in said
    assert "1 transform jobs that are over stay" in said  # there is no call to delete one
    assert left(platform) == {}


def load_version(platform: Platform, uri: str, folder: Path) -> str:
    """Of the artifact in a model.tar.gz."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    platform.client("s3").download_file(bucket, key, str(folder / "served.tar.gz"))
    shutil.unpack_archive(folder / "served.tar.gz", folder / "served", filter="data")
    return load(folder / "served").manifest.version
