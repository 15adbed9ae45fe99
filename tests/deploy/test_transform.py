from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import parts, repository, transforms
from deploy.account import STACK, Account
from deploy.errors import DeployError
from deploy.registry import ModelPackage
from deploy.storage import Address
from deploy.transforms import Plan
from service.model.artifact import Artifact
from tests.conftest import ROOT
from tests.deploy.conftest import BUCKET, Deploy
from tests.imagery import geotiff, reflectance
from tests.sagemaker.hosting import SERVICE, begins_with
from tests.sagemaker.platform import Platform

TILE = geotiff(reflectance())
TAGS = [{"Key": "aerial-featurizer:stack", "Value": STACK}]
PREFIX = Address(BUCKET, "tiles/")


def test_the_request_for_a_prefix_leaves_concurrency_and_payload_to_the_service(account: Account) -> None:
    plan = Plan(PREFIX, transforms.output(account, "job"), options=(("bands", "B04,B03,B02"), ("boa_offset", "0")))
    assert transforms.request(account, "job", "model", plan) == {
        "TransformJobName": "job",
        "ModelName": "model",
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": 600, "InvocationsMaxRetries": 3},
        "Environment": {"MAX_BODY_MB": "105", "MAX_WAIT_S": "550"},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/tiles/"}},
            "ContentType": "image/tiff; bands=B04,B03,B02; boa_offset=0",
            "CompressionType": "None",
            "SplitType": "None",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{BUCKET}/transforms/job/output/",
            "Accept": "application/json", "AssembleWith": "None",
        },
        "TransformResources": {"InstanceType": "ml.c7i.xlarge", "InstanceCount": 1},
        "Tags": TAGS,
    }  # fmt: skip


def test_the_request_for_a_manifest_joins_lines_with_answers_and_lets_the_service_read(account: Account) -> None:
    source, out = Address(BUCKET, "m.jsonl"), Address(BUCKET, "out/")
    plan = Plan(source, out, manifest=True, prefixes=("s3://tiles/a/",), payload_mb=10, concurrency=8, instances=2)
    asked = transforms.request(account, "job", "model", plan)
    assert asked["TransformInput"]["ContentType"] == asked["TransformOutput"]["Accept"] == "application/jsonlines"
    assert asked["TransformInput"]["SplitType"] == asked["TransformOutput"]["AssembleWith"] == "Line"
    assert asked["DataProcessing"] == {"JoinSource": "Input"}
    assert asked["Environment"]["ALLOWED_S3_PREFIXES"] == "s3://tiles/a/"
    assert (asked["MaxPayloadInMB"], asked["MaxConcurrentTransforms"]) == (10, 8)
    package = ModelPackage("arn", "a" * 64, "s3://m", "image@1", True)
    isolated, connected = (parts.transform_model(account, package, isolated=is_so) for is_so in (True, False))
    assert (isolated["EnableNetworkIsolation"], connected["EnableNetworkIsolation"]) == (True, False)
    assert isolated["ModelName"] != connected["ModelName"]


def test_a_manifest_allows_the_folders_that_its_objects_are_in_and_no_more() -> None:
    lines = [
        b'{"id": "a", "s3_uri": "s3://one/x/a/1.tif"}\n',
        b"\n",
        b'{"id": "b", "bands": {"B02": "s3://one/x/b/1_B02.tif", "B03": "s3://two/y/1_B03.tif"}}\n',
    ]
    assert transforms.prefixes_of(lines, "m") == ("s3://one/x/", "s3://two/y/")
    with pytest.raises(DeployError, match="bad_manifest: m, line 2"):
        transforms.prefixes_of([lines[0], b'{"id": "c"}'], "m")


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "a", "s3_uri": "s3://one/1.tif", "label": "forest"}',
        b'{"id": "a", "s3_uri": "s3://one/1.tif", "bands": {"B02": "s3://one/2.tif"}}',
        b'{"id": "a", "image": "SUkqAA=="}',
        b'["s3://one/1.tif"]',
    ],
)
def test_a_line_that_the_service_would_refuse_is_refused_before_a_job_begins(line: bytes) -> None:
    with pytest.raises(DeployError, match="bad_manifest: m, line 1"):
        transforms.prefixes_of([line], "m")
    nothing_said = b'{"id": "a", "s3_uri": "s3://one/1.tif", "bands": null}'
    assert transforms.prefixes_of([nothing_said], "m") == ("s3://one/",)


Put = Callable[..., None]


@pytest.fixture
def put(platform: Platform) -> Put:
    """Puts objects under tiles/."""

    def put(**tiles: bytes) -> None:
        for name, content in tiles.items():
            platform.client("s3").put_object(Bucket=BUCKET, Key=f"tiles/{name}.tif", Body=content)

    return put


@pytest.mark.parametrize(
    ("tiles", "said", "told"),
    [
        ({}, (), "no_input"),
        ({"big": bytes(7 * 1024**2)}, (), "--max-payload 7 --concurrency 14"),
        ({"huge": bytes(101 * 1024**2)}, ("--max-payload", "100"), "cut it"),
        ({"S2A_1_2_B04": TILE}, (), "band_files"),
        ({"a": TILE}, ("--max-payload", "50", "--concurrency", "3"), "over 100 MB"),
        ({"a": TILE}, ("--out", "s3://elsewhere/out/"), "bad_out"),
        ({"a": TILE}, ("--job", "mine"), "bad_name"),
        ({"a": TILE}, ("--instance-type", "ml.p3.2xlarge"), "instance_too_old"),
    ],
)
@pytest.mark.usefixtures("account")
def test_what_could_only_fail_is_told_before_a_job_begins(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact, put: Put,
    tiles: dict[str, bytes], said: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    put(**tiles)
    code, _, noted = deploy("transform", f"s3://{BUCKET}/tiles/", "--artifact", tiny_artifact.path, *said)
    assert code == 1 and told in noted
    assert not platform.requests("CreateTransformJob")


def test_ctrl_c_leaves_the_job_running_and_it_can_be_attached_to_and_stopped(
    deploy: Deploy, account: Account, platform: Platform, tiny_artifact: Artifact, put: Put, tmp_path: Path
) -> None:
    put(one=TILE)
    platform.images[repository.image(account)] = begins_with(tmp_path / "begin", SERVICE)  # or it might be over
    command = [sys.executable, "-m", "deploy", "transform", f"s3://{BUCKET}/tiles/", "--artifact", tiny_artifact.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        job = process.stdout.readline().strip()
        while "InProgress" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert f"--attach {job}" in process.stderr.read()
    assert process.returncode == 130
    assert transforms.described(account, job)["TransformJobStatus"] == "InProgress"
    assert deploy("transform", "--stop", job)[0] == 0
    (tmp_path / "begin").touch()
    code, _, noted = deploy("transform", "--attach", job)
    assert code == 1 and "Stopped" in noted


@pytest.mark.usefixtures("account")
def test_answers_that_cannot_be_joined_with_the_lines_of_a_manifest_are_refused(
    deploy: Deploy, platform: Platform, tmp_path: Path
) -> None:
    manifest = tmp_path / "lines.jsonl"
    manifest.write_text('{"id": "a", "s3_uri": "s3://tiles/x/1.tif"}\n')
    code, _, noted = deploy("transform", "--manifest", manifest, "--accept", "application/x-npy")
    assert code == 1 and noted.startswith("bad_option: ")
    assert not platform.requests("s3/PUT")


@pytest.mark.usefixtures("account")
def test_a_dry_run_begins_nothing(deploy: Deploy, platform: Platform, tiny_artifact: Artifact, tmp_path: Path) -> None:
    manifest = tmp_path / "lines.jsonl"
    manifest.write_text('{"id": "a", "s3_uri": "s3://tiles/x/1.tif"}\n')
    code, said, _ = deploy("transform", "--manifest", manifest, "--artifact", tiny_artifact.path, "--dry-run")
    *_, last = map(json.loads, said.splitlines())
    assert (code, last["operation"]) == (0, "CreateTransformJob")
    assert last["request"]["Environment"]["ALLOWED_S3_PREFIXES"] == "s3://tiles/x/"
    assert not platform.requests("CreateTransformJob")
