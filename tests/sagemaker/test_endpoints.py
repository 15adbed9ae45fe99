"""Endpoints whose containers are processes of this repository's service."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from tests.imagery import geotiff, reflectance
from tests.sagemaker.conftest import Account
from tests.waiting import wait_until

TILE = geotiff(reflectance())


def configure(account: Account, name: str, model: str) -> str:
    variant = {"VariantName": "all", "ModelName": model, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    account.client("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    return name


@pytest.fixture(scope="module")
def endpoint(module_account: Account, archive: bytes) -> Account:
    """`live` answers."""
    module_account.model("good", archive, DECODE_WORKERS="1")
    module_account.client("sagemaker").create_endpoint(
        EndpointName="live", EndpointConfigName=configure(module_account, "good", "good")
    )
    assert module_account.platform.wait("live")["EndpointStatus"] == "InService"
    return module_account


def invoke(account: Account, body: bytes = TILE, **more: str) -> dict[str, Any]:
    asked = {"EndpointName": "live", "ContentType": "image/tiff", **more}
    told: dict[str, Any] = account.client("sagemaker-runtime").invoke_endpoint(Body=body, **asked)
    return told


def test_it_answers_with_what_the_service_computes(endpoint: Account) -> None:
    answer = invoke(endpoint, Accept="application/x-npy", CustomAttributes='{"embedding_dtype": "float16"}')
    assert answer["ContentType"] == "application/x-npy"
    assert answer["InvokedProductionVariant"] == "all"
    assert np.load(io.BytesIO(answer["Body"].read())).dtype == np.float16


def test_what_the_container_refuses_is_a_model_error(endpoint: Account) -> None:
    with pytest.raises(ClientError, match="not_a_tiff") as refused:
        invoke(endpoint, b"no tiff")
    told = refused.value.response
    assert told["Error"]["Code"] == "ModelError"
    assert told["OriginalStatusCode"] == 415
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424


def test_a_body_over_the_limit_does_not_reach_the_container(endpoint: Account) -> None:
    with pytest.raises(ClientError, match="at most 25000000"):
        invoke(endpoint, bytes(25_000_001))


def test_an_update_to_a_broken_model_is_rolled_back_while_the_old_serves(endpoint: Account) -> None:
    with_no_artifact = io.BytesIO()
    with tarfile.open(fileobj=with_no_artifact, mode="w:gz") as tar:
        text = b"{}"
        member = tarfile.TarInfo("model.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    endpoint.model("broken", with_no_artifact.getvalue())
    sagemaker = endpoint.client("sagemaker")
    sagemaker.update_endpoint(EndpointName="live", EndpointConfigName=configure(endpoint, "broken", "broken"))
    assert sagemaker.describe_endpoint(EndpointName="live")["EndpointStatus"] == "Updating"
    assert invoke(endpoint)["ResponseMetadata"]["HTTPStatusCode"] == 200
    endpoint.platform.wait("live")
    told = sagemaker.describe_endpoint(EndpointName="live")
    assert (told["EndpointStatus"], told["EndpointConfigName"]) == ("InService", "good")
    assert "exit code 1" in told["FailureReason"]
    assert any("cannot serve" in line for line in endpoint.platform.lines("Endpoints/live", "all"))
    assert invoke(endpoint)["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_deleted_it_is_gone_and_so_are_its_containers(endpoint: Account) -> None:
    [container] = endpoint.platform.control.endpoints["live"].variants[0].containers
    sagemaker = endpoint.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName="live")
    wait_until(lambda: not sagemaker.list_endpoints()["Endpoints"])
    assert not container.program.is_running()
    with pytest.raises(ClientError, match="not found"):
        invoke(endpoint)
