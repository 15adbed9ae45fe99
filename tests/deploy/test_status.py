"""python -m deploy status."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploy.__main__ import main
from tests.deploy.conftest import STACK, Cloud
from tests.deploy.furnishing import BUCKET, ROLE, TAGS, furnish, furnish_for_others


@pytest.fixture
def furnished(cloud: Cloud) -> Cloud:
    assert main(["setup"]) == 0
    furnish(cloud)
    furnish_for_others(cloud)
    return cloud


def endpoint(cloud: Cloud, name: str, variant: dict[str, Any], **config: Any) -> None:
    sagemaker = cloud.client("sagemaker")
    variant = {"VariantName": "all", "ModelName": STACK, **variant}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=TAGS, **config)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=TAGS)


def test_people_read_a_table_of_what_there_is(furnished: Cloud) -> None:
    done = furnished.deploy("status")
    assert done.returncode == 0, done.stderr
    blocks = {block.split("  ")[0]: block for block in done.stdout.split("\n\n")}
    assert list(blocks) == [
        *("STACK", "BUCKET", "IMAGES", "MODEL PACKAGES", "MODELS", "ENDPOINTS", "SCALING TARGETS", "RUNNING JOBS")
    ]
    assert f"s3://{BUCKET}/tiles/" in blocks["BUCKET"] and "1.2 kB" in blocks["BUCKET"]
    assert "uploads never finished" in blocks["BUCKET"]
    assert "latest" in blocks["IMAGES"]
    assert "1" * 12 in blocks["MODEL PACKAGES"] and "0.8100" in blocks["MODEL PACKAGES"]
    assert f"{STACK}-pretrain-2" in blocks["RUNNING JOBS"] and f"{STACK}-pretrain-1" not in blocks["RUNNING JOBS"]
    assert "colleague" not in done.stdout


def test_it_says_what_costs_while_nobody_asks(furnished: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint(furnished, f"{STACK}-serverless", {"ServerlessConfig": {"MemorySizeInMB": 4096, "MaxConcurrency": 5}})
    endpoint(
        furnished,
        f"{STACK}-async",
        {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1},
        AsyncInferenceConfig={"OutputConfig": {"S3OutputPath": f"s3://{BUCKET}/async/"}},
    )
    furnished.client("application-autoscaling").register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{STACK}-async/variant/all",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=0,
        MaxCapacity=2,
    )
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)["endpoints"]}
    assert {name: (one["mode"], one["costs"]) for name, one in told.items()} == {
        STACK: ("real-time", "by the hour even when idle"),
        f"{STACK}-serverless": ("serverless", "nothing while idle"),
        f"{STACK}-async": ("async", "nothing while idle"),
    }
    assert told[STACK]["instances"] == "2 × ml.m5.large"


def test_an_endpoint_whose_config_is_gone_is_told_of_as_one_that_costs(
    furnished: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    furnished.client("sagemaker").delete_endpoint_config(EndpointConfigName=STACK)
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["endpoints"]
    assert (told["name"], told["costs"]) == (STACK, "by the hour even when idle")


def test_machines_read_json(furnished: Cloud) -> None:
    told = json.loads(furnished.deploy("status", "--json").stdout)
    assert told["stack"][0]["status"] == "CREATE_COMPLETE"
    (tiles,) = (one for one in told["bucket"] if one["name"].endswith("/tiles/"))
    assert (tiles["objects"], tiles["bytes"]) == (12, 1200)
    assert {one["version"]: one["approval"] for one in told["model packages"]} == {1: "Approved", 2: "Approved"}
    (job,) = told["running jobs"]
    assert (job["kind"], job["status"]) == ("training", "InProgress")


def test_an_empty_account_is_said_to_be_empty(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model(ModelName=STACK, PrimaryContainer={"Image": "image"}, ExecutionRoleArn=ROLE)
    assert main(["status"]) == 0
    assert capsys.readouterr().out == f"Nothing of the stack {STACK} exists in eu-central-1.\n"
