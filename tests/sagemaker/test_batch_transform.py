"""Batch transform over real HTTP: of the service, and of an image that says what it was asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.imagery import geotiff, reflectance
from tests.sagemaker.batch_transform import Parameters, TransformJob
from tests.sagemaker.conftest import Account

TILE = geotiff(reflectance())


def transform(account: Account, name: str, model: str, source: str, instances: int = 1, **more: Any) -> dict[str, Any]:
    """Runs it to its end; `more` overrides parts of the request."""
    kind = "ManifestFile" if source.endswith(".manifest") else "S3Prefix"
    data = {"DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": account.uri(source)}}}
    request = {
        "TransformInput": {**data, **more.pop("read", {})},
        "TransformOutput": {"S3OutputPath": account.uri(f"out/{name}"), **more.pop("write", {})},
        "TransformResources": {"InstanceType": "ml.g5.xlarge", "InstanceCount": instances},
        **more,
    }
    account.client("sagemaker").create_transform_job(TransformJobName=name, ModelName=model, **request)
    account.platform.wait(name)
    told: dict[str, Any] = account.client("sagemaker").describe_transform_job(TransformJobName=name)
    return told


def results(account: Account, name: str) -> dict[str, bytes]:
    prefix = f"out/{name}/"
    return {key.removeprefix(prefix): account.get(account.uri(key)) for key in account.keys(prefix)}


def requests(account: Account, name: str) -> list[str]:
    """Bodies that reached the containers, in order."""
    lines = [line for line in account.platform.lines("TransformJobs", name) if line.startswith("{")]
    return [json.loads(line)["body"] for line in lines]


def test_twenty_objects_go_through_two_instances_and_a_bad_one_fails_the_job_alone(
    account: Account, archive: bytes
) -> None:
    account.model("tiny", archive, DECODE_WORKERS="1", BATCH_ERRORS="fail")
    for index in range(20):
        account.put(f"tiles/{index % 3}/{index}.tif", TILE if index != 7 else b"no tiff")
    told = transform(
        account,
        "tiles",
        "tiny",
        "tiles/",
        instances=2,
        read={"ContentType": "image/tiff"},
        write={"Accept": "application/json"},
        ModelClientConfig={"InvocationsMaxRetries": 1},
    )
    assert told["TransformJobStatus"] == "Failed"
    assert told["FailureReason"] == "ClientError: See job logs for more information"
    answers = results(account, "tiles")
    assert answers.keys() == {f"{index % 3}/{index}.tif.out" for index in range(20) if index != 7}
    assert all(b"embedding" in answer for answer in answers.values())
    job = account.platform.job("tiles")
    assert isinstance(job, TransformJob)
    assert [used.concurrent for used in job.used] == [16, 16]
    log = account.platform.lines("TransformJobs", "tiles")
    assert any("imagery/tiles/1/7.tif: Bad HTTP status received from algorithm: 415" in line for line in log)


def test_the_job_decides_then_the_container_then_the_least() -> None:
    said = json.dumps({"MaxConcurrentTransforms": 16, "MaxPayloadInMB": 4, "BatchStrategy": "SINGLE_RECORD"}).encode()
    assert Parameters.of({}, None) == Parameters(1, 6, "MultiRecord")
    assert Parameters.of({}, said) == Parameters(16, 4, "SingleRecord")
    assert Parameters.of({"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 5}, said) == Parameters(2, 5, "SingleRecord")


def test_lines_are_batched_joined_with_their_input_and_filtered(doubling: Account) -> None:
    lines = b"".join(json.dumps({"id": name, "n": number}).encode() + b"\n" for name, number in (("a", 1), ("b", 2)))
    doubling.put("lines/one.jsonl", lines)
    by_line: dict[str, Any] = {"read": {"SplitType": "Line"}, "write": {"AssembleWith": "Line"}}
    told = transform(
        doubling,
        "joined",
        "doubling",
        "lines/",
        DataProcessing={"JoinSource": "Input", "InputFilter": "$.n", "OutputFilter": "$['id','SageMakerOutput']"},
        **by_line,
    )
    assert told["TransformJobStatus"] == "Completed"
    joined = [json.loads(line) for line in results(doubling, "joined")["one.jsonl.out"].splitlines()]
    assert joined == [{"id": "a", "SageMakerOutput": 2}, {"id": "b", "SageMakerOutput": 4}]


def test_the_strategy_says_how_many_lines_go_at_once(doubling: Account) -> None:
    doubling.put("lines/one.jsonl", b"1\n2\n3\n")
    by_line: dict[str, Any] = {"read": {"SplitType": "Line"}, "write": {"AssembleWith": "Line"}}
    for strategy in ("SingleRecord", "MultiRecord"):
        told = transform(doubling, strategy, "doubling", "lines/", BatchStrategy=strategy, **by_line)
        assert told["TransformJobStatus"] == "Completed"
        assert results(doubling, strategy) == {"one.jsonl.out": b"2\n4\n6\n"}
    assert requests(doubling, "SingleRecord") == ["1\n", "2\n", "3\n"]
    assert requests(doubling, "MultiRecord") == ["1\n2\n3\n"]


def test_what_fails_is_asked_again_so_often_and_so_long(doubling: Account) -> None:
    client = {"InvocationsMaxRetries": 2}
    doubling.put("shaky/a.json", b'"fail once"')
    assert (
        transform(doubling, "shaky", "doubling", "shaky/", ModelClientConfig=client)["TransformJobStatus"]
        == "Completed"
    )
    assert len(requests(doubling, "shaky")) == 2
    doubling.put("slow/a.json", b'"sleep"')
    client["InvocationsTimeoutInSeconds"] = 1
    assert transform(doubling, "slow", "doubling", "slow/", ModelClientConfig=client)["TransformJobStatus"] == "Failed"
    assert len(requests(doubling, "slow")) == 3


def test_a_manifest_names_its_objects(doubling: Account) -> None:
    for name in ("a", "b", "c"):
        doubling.put(f"numbers/{name}", b"1")
    doubling.put("some.manifest", json.dumps([{"prefix": doubling.uri("numbers/")}, "a", "c"]).encode())
    told = transform(doubling, "named", "doubling", "some.manifest", instances=2)
    assert told["TransformJobStatus"] == "Completed"
    assert len(requests(doubling, "named")) == 2
    assert results(doubling, "named").keys() == {"a.out", "c.out"}


def test_it_can_be_stopped_and_what_cannot_be_is_refused(doubling: Account) -> None:
    for index in range(20):
        doubling.put(f"slow/{index:02}", b'"sleep"')
    sagemaker = doubling.client("sagemaker")
    place = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": doubling.uri("slow/")}}}
    request = {
        "ModelName": "doubling",
        "TransformInput": place,
        "TransformOutput": {"S3OutputPath": doubling.uri("out/stopped")},
        "TransformResources": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
    }
    with pytest.raises(ClientError, match="100 MB"):
        sagemaker.create_transform_job(
            **request, TransformJobName="large", MaxConcurrentTransforms=20, MaxPayloadInMB=6
        )
    sagemaker.create_transform_job(**request, TransformJobName="stopped")
    sagemaker.stop_transform_job(TransformJobName="stopped")
    assert doubling.platform.wait("stopped")["TransformJobStatus"] == "Stopped"
