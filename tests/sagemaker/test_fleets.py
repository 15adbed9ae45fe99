"""Several containers behind one name, of an image that starts at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import DOUBLING, Account
from tests.sagemaker.hosting import Container, begins_with
from tests.waiting import wait_until


def serve(account: Account, queue: dict[str, Any] | None = None, **variant: Any) -> None:
    sagemaker = account.client("sagemaker")
    more = {"AsyncInferenceConfig": queue} if queue else {}
    told = {"VariantName": "all", "ModelName": "doubling", **variant}
    sagemaker.create_endpoint_config(EndpointConfigName="fleet", ProductionVariants=[told], **more)
    sagemaker.create_endpoint(EndpointName="fleet", EndpointConfigName="fleet")
    assert account.platform.wait("fleet")["EndpointStatus"] == "InService"


def invoke(account: Account, body: bytes) -> bytes:
    runtime = account.client("sagemaker-runtime")
    told: bytes = runtime.invoke_endpoint(EndpointName="fleet", Body=body)["Body"].read()
    return told


@contextmanager
def busy(account: Account) -> Iterator[Container]:
    """A container that is at work on a request until the end of the context."""
    thread = threading.Thread(target=invoke, args=(account, b'"wait"'))
    thread.start()
    containers = account.platform.control.endpoints["fleet"].variants[0].containers
    wait_until(lambda: any(one.outstanding for one in containers))
    [one] = [one for one in containers if one.outstanding]
    yield one
    (one.root.folder / "go_on").touch()
    thread.join()


def test_a_busy_instance_is_passed_over(doubling: Account) -> None:
    serve(doubling, InstanceType="ml.g5.xlarge", InitialInstanceCount=2)
    with busy(doubling) as one:
        [variant] = doubling.platform.control.endpoints["fleet"].variants
        assert variant.least_busy() is not one
        assert invoke(doubling, b"1") == b"2\n"
        assert one.outstanding == 1


def test_serverless_takes_less_and_fewer_at_once(doubling: Account) -> None:
    serve(doubling, ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1})
    with pytest.raises(ClientError, match="at most 4000000"):
        invoke(doubling, bytes(4_000_001))
    with busy(doubling), pytest.raises(ClientError) as refused:
        invoke(doubling, b"1")
    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    assert invoke(doubling, b"1") == b"2\n"


def test_capacity_can_be_changed_and_not_while_it_changes(doubling: Account, tmp_path: Path) -> None:
    serve(doubling, InstanceType="ml.g5.xlarge", InitialInstanceCount=1)
    sagemaker = doubling.client("sagemaker")
    more = {"VariantName": "all", "DesiredInstanceCount": 2}
    begin = tmp_path / "begin"
    doubling.platform.images["doubling"] = begins_with(begin, DOUBLING)
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="fleet", DesiredWeightsAndCapacities=[more])
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName="fleet")
    begin.touch()
    doubling.platform.wait("fleet")
    [variant] = sagemaker.describe_endpoint(EndpointName="fleet")["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (2, 2)


def test_what_waited_while_there_was_no_instance_is_worked_off_when_there_is_one(doubling: Account) -> None:
    places = {"S3OutputPath": doubling.uri("async/output"), "S3FailurePath": doubling.uri("async/failures")}
    client = {"MaxConcurrentInvocationsPerInstance": 2}
    serve(
        doubling,
        {"OutputConfig": places, "ClientConfig": client},
        InstanceType="ml.g5.xlarge",
        InitialInstanceCount=1,
    )
    with pytest.raises(ClientError, match="InvokeEndpointAsync"):
        invoke(doubling, b"1")
    doubling.platform.scale("fleet", 0)
    doubling.platform.wait("fleet")
    [variant] = doubling.client("sagemaker").describe_endpoint(EndpointName="fleet")["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 0
    runtime = doubling.client("sagemaker-runtime")
    good, bad = (
        runtime.invoke_endpoint_async(EndpointName="fleet", InputLocation=doubling.put(f"async/input/{name}", body))
        for name, body in (("good", b"21"), ("bad", b'"fail once"'))
    )
    doubling.platform.scale("fleet", 1)
    wait_until(lambda: len(doubling.keys("async/output") + doubling.keys("async/failures")) == 2)
    assert doubling.get(good["OutputLocation"]) == b"42\n"
    assert doubling.get(bad["FailureLocation"]) == b"once"
