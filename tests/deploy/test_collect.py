from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from deploy import registry, resubmission
from deploy.account import Account
from deploy.errors import DeployError
from service.formats import geoparquet
from service.model.artifact import Artifact
from tests.conftest import ROOT
from tests.deploy.conftest import BUCKET, Deploy
from tests.imagery import geotiff, reflectance
from tests.sagemaker.batch_transform import TransformJob
from tests.sagemaker.platform import Platform

TILE, SCENE = geotiff(reflectance()), geotiff(reflectance(side=240))
OUT = f"s3://{BUCKET}/out/"


class Answers:
    """Puts answers as the service and batch transform write them."""

    def __init__(self, platform: Platform, artifact: Artifact) -> None:
        self._s3, self._sha256 = platform.client("s3"), artifact.sha256

    @property
    def model(self) -> dict[str, str]:
        return {"name": "tiny", "version": "1", "sha256": self._sha256}

    def record(self, number: float = 0, **more: Any) -> dict[str, Any]:
        probabilities = {"field": number, "town": 0.5, "lake": None, "sea": None, "desert": None}
        return {
            "id": "0", "window": [0, 0, 120, 120], "embedding": [number] * 192, "probabilities": probabilities,
            "groups": {"Water (any)": 0.1}, "labels": ["town"], "valid_fraction": 1.0, "crs": None, "footprint": None,
            "radiometry": {"divisor": 2000, "boa_offset": 0, "scale": 1, "bands": ["B04", "B03", "B02"]},
            "warnings": [], **more,
        }  # fmt: skip

    def put(self, name: str, body: bytes) -> None:
        self._s3.put_object(Bucket=BUCKET, Key=f"out/{name}.out", Body=body)

    def put_json(self, name: str, *records: dict[str, Any], **model: str) -> None:
        self.put(name, json.dumps({"model": self.model | model, "predictions": list(records)}).encode())


@pytest.fixture
def answers(account: Account, platform: Platform, tiny_artifact: Artifact) -> Answers:
    registry.register(account, tiny_artifact.path, "image@1", approved=True)
    return Answers(platform, tiny_artifact)


def failures(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.with_suffix(".failures.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("account")
def test_answers_of_a_transform_become_one_geoparquet_and_what_failed_can_be_sent_again(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    s3, file = platform.client("s3"), tmp_path / "land.parquet"
    for name, content in (("a", TILE), ("bad", b"no tiff"), ("sub/scene", SCENE)):
        s3.put_object(Bucket=BUCKET, Key=f"tiles/{name}.tif", Body=content)
    code, said, noted = deploy("transform", f"s3://{BUCKET}/tiles", "--artifact", tiny_artifact.path)
    job = said.splitlines()[0]
    assert code == 0 and f"{job}: 3 of 3 answered" in noted
    found = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"transforms/{job}/output/")["Contents"]
    assert [entry["Key"].partition("/output/")[2] for entry in found] == [
        "a.tif.out",
        "bad.tif.out",
        "sub/scene.tif.out",
    ]
    (model,) = platform.requests("CreateModel")
    assert model["EnableNetworkIsolation"] is True
    ran = platform.job(job)
    assert isinstance(ran, TransformJob) and ran.used[0].concurrent == 16
    code, said, _ = deploy("collect", job, "--to", file, "--resubmit")
    again = said.splitlines()[-1]
    assert code == 0 and "5 predictions" in said and "1 not_a_tiff" in said
    rows = pq.read_table(file)
    assert rows["id"].to_pylist() == ["a", *4 * ["scene"]]
    assert rows["source"].to_pylist()[1] == f"s3://{BUCKET}/tiles/sub/scene.tif"
    assert rows.schema.equals(geoparquet.schema(192, ["field", "town", "lake", "sea", "desert"], ["Water (any)"]))
    (failed,) = failures(file)
    assert (failed["source"], failed["code"], failed["job"]) == (f"s3://{BUCKET}/tiles/bad.tif", "not_a_tiff", job)
    s3.put_object(Bucket=BUCKET, Key="tiles/bad.tif", Body=TILE)  # it was mended, but the job that runs saw the old one
    assert deploy("transform", "--attach", again)[0] in (0, 1)
    source = platform.requests("CreateTransformJob")[-1]["TransformInput"]["DataSource"]["S3DataSource"]
    assert source == {"S3DataType": "ManifestFile", "S3Uri": f"s3://{BUCKET}/transforms/{again}/inputs.json"}
    assert json.loads(s3.get_object(Bucket=BUCKET, Key=f"transforms/{again}/inputs.json")["Body"].read()) == [
        {"prefix": f"s3://{BUCKET}/tiles/"}, "bad.tif"
    ]  # fmt: skip
    code, said, _ = deploy("collect", job, again, "--to", file)
    assert code == 0 and "6 predictions" in said
    assert not file.with_suffix(".failures.jsonl").exists()


def test_inputs_that_failed_and_are_gone_cannot_be_sent_again() -> None:
    with pytest.raises(DeployError, match="no_input"):
        resubmission.listed([])


@pytest.mark.usefixtures("account")
def test_lines_of_a_manifest_come_with_their_ids_and_those_that_failed_are_sent_again(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    s3, file, manifest = platform.client("s3"), tmp_path / "land.parquet", tmp_path / "lines.jsonl"
    s3.put_object(Bucket=BUCKET, Key="tiles/a.tif", Body=TILE)
    lines = [{"id": name, "s3_uri": f"s3://{BUCKET}/tiles/{key}.tif"} for name, key in (("one", "a"), ("two", "none"))]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, said, noted = deploy("transform", "--manifest", manifest, "--artifact", tiny_artifact.path)
    job = said.splitlines()[0]
    assert code == 0, noted
    code, said, _ = deploy("collect", job, "--to", file)
    assert code == 0 and pq.read_table(file)["id"].to_pylist() == ["one"]
    (failed,) = failures(file)
    assert (failed["id"], failed["code"], failed["instance"]) == ("two", "source_not_found", lines[1])
    again = deploy("collect", job, "--to", file, "--resubmit", "--dry-run")[1]
    put, create = (json.loads(line) for line in again.splitlines() if line.startswith("{"))
    assert put["request"]["Key"].endswith("/manifest.jsonl")
    assert create["request"]["TransformInput"]["SplitType"] == "Line"


@pytest.mark.usefixtures("account")
def test_objects_without_an_answer_are_told_with_what_the_log_says(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    s3, file = platform.client("s3"), tmp_path / "land.parquet"
    for name, content in (("a", TILE), ("bad", b"no tiff")):
        s3.put_object(Bucket=BUCKET, Key=f"tiles/{name}.tif", Body=content)
    said = deploy(
        "transform", f"s3://{BUCKET}/tiles/", "--artifact", tiny_artifact.path, "--accept", "application/x-npy"
    )
    code, job, noted = said[0], said[1].splitlines()[0], said[2]
    assert code == 1 and "transform_failed" in noted  # npy has no place for an error
    assert deploy("collect", job, "--to", file)[0] == 0
    assert pq.read_table(file)["embedding"].type.list_size == 192
    (failed,) = failures(file)
    assert (failed["source"], failed["code"]) == (f"s3://{BUCKET}/tiles/bad.tif", "not_a_tiff")


def test_answers_under_a_prefix_are_collected_without_a_job(deploy: Deploy, answers: Answers, tmp_path: Path) -> None:
    schema = geoparquet.schema(192, ["field", "town", "lake", "sea", "desert"], ["Water (any)"])
    geo, npy = io.BytesIO(), io.BytesIO()
    with geoparquet.Writer(geo, schema) as writer:
        writer.append([answers.record(0.25), {"id": "1", "error": {"code": "corrupt", "detail": "no"}}], answers.model)
    np.save(npy, np.zeros((1, 192), np.float32))
    answers.put_json("a.tif", answers.record(0.5))
    answers.put_json("b.tif", answers.record(0.75, probabilities={"field": 0.75}))  # of top_k=1
    answers.put("c.tif", geo.getvalue())
    answers.put("d.tif", b"<html>")
    code, said, _ = deploy("collect", OUT, "--to", tmp_path / "all.parquet")
    assert code == 0 and "3 predictions" in said
    rows = pq.read_table(tmp_path / "all.parquet")
    assert [entry["field"] for entry in rows["probabilities"].to_pylist()] == [0.5, 0.75, 0.25]
    assert rows["id"].to_pylist() == ["a", "b", "c"]
    assert [(entry["id"], entry["code"]) for entry in failures(tmp_path / "all.parquet")] == [
        ("c", "corrupt"), ("d", "unreadable")
    ]  # fmt: skip
    answers.put("e.tif", npy.getvalue())
    assert "other_options" in deploy("collect", OUT, "--to", tmp_path / "all.parquet")[2]


def test_answers_of_two_models_do_not_come_into_one_file(deploy: Deploy, answers: Answers, tmp_path: Path) -> None:
    answers.put_json("a.tif", answers.record())
    answers.put_json("b.tif", answers.record(), sha256="f" * 64)
    code, _, noted = deploy("collect", OUT, "--to", tmp_path / "all.parquet")
    assert code == 1 and "other_model" in noted
    assert not (tmp_path / "all.parquet").exists()


@pytest.mark.usefixtures("account")
def test_killed_collecting_goes_on_where_it_was(
    deploy: Deploy, platform: Platform, answers: Answers, tmp_path: Path
) -> None:
    for number in range(500):
        answers.put_json(f"{number:04}.tif", answers.record(number))
    file = tmp_path / "all.parquet"
    command = [sys.executable, "-m", "deploy", "collect", OUT, "--to", str(file)]
    parts = tmp_path / "all.parquet.parts"
    platform.before_answers["GET"] = lambda: process.kill() if list(parts.glob("*.parquet")) else None
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        assert process.wait(300) == -signal.SIGKILL
    del platform.before_answers["GET"]
    assert not file.exists()
    platform.calls.clear()
    assert deploy("collect", OUT, "--to", file)[0] == 0
    reads = [call for call in platform.requests("s3/GET") if call["Key"].endswith(".out")]
    assert len(reads) <= 500 - 200 + 1  # the first tells the columns
    assert [row[0] for row in pq.read_table(file)["embedding"].to_pylist()] == list(range(500))
    assert list(tmp_path.iterdir()) == [file]
