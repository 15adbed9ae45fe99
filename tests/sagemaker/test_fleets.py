"""Several containers behind one name, of an image that starts at once."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import Account


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


def begin_a_slow_one(account: Account) -> threading.Thread:
    thread = threading.Thread(target=invoke, args=(account, b'"sleep"'))
    thread.start()
    containers = account.platform.control.endpoints["fleet"].variants[0].containers
    while not any(one.outstanding for one in containers):
        time.sleep(0.01)
    return thread


def test_a_busy_instance_is_passed_over(doubling: Account) -> None:
    serve(doubling, InstanceType="ml.g5.xlarge", InitialInstanceCount=2)
    slow = begin_a_slow_one(doubling)
    [variant] = doubling.platform.control.endpoints["fleet"].variants
    [busy] = [one for one in variant.containers if one.outstanding]
    assert variant.least_busy() is not busy
    assert invoke(doubling, b"1") == b"2\n"
    assert busy.outstanding == 1
    slow.join()


def test_serverless_takes_less_and_fewer_at_once(doubling: Account) -> None:
    serve(doubling, ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1})
    with pytest.raises(ClientError, match="at most 4000000"):
        invoke(doubling, bytes(4_000_001))
    slow = begin_a_slow_one(doubling)
    with pytest.raises(ClientError) as refused:
        invoke(doubling, b"1")
    assert refused.value.response["Error"]["Code"] == "ThrottlingException"
    slow.join()
    assert invoke(doubling, b"1") == b"2\n"


def test_capacity_can_be_changed_and_not_while_it_changes(doubling: Account) -> None:
    serve(doubling, InstanceType="ml.g5.xlarge", InitialInstanceCount=1)
    sagemaker = doubling.client("sagemaker")
    more = {"VariantName": "all", "DesiredInstanceCount": 2}
    sagemaker.update_endpoint_weights_and_capacities(EndpointName="fleet", DesiredWeightsAndCapacities=[more])
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        sagemaker.delete_endpoint(EndpointName="fleet")
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
    end = time.monotonic() + 30
    while len(doubling.keys("async/output") + doubling.keys("async/failures")) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert doubling.get(good["OutputLocation"]) == b"42\n"
    assert doubling.get(bad["FailureLocation"]) == b"once"
