"""python -m deploy teardown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from moto.core.responses import ActionResult
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.responses import SageMakerResponse

from deploy.__main__ import main
from tests.conftest import ROOT
from tests.deploy.conftest import STACK, Cloud
from tests.deploy.furnishing import BUCKET, ENDPOINTS, TRAINING, TRANSFORMS, furnish, furnish_for_others

LISTS = (
    *("list_models", "list_endpoint_configs", "list_endpoints", "list_model_package_groups"),
    *("list_training_jobs", "list_processing_jobs", "list_transform_jobs"),
)


@pytest.fixture
def furnished(cloud: Cloud) -> Cloud:
    assert main(["setup"]) == 0
    furnish(cloud)
    return cloud


def names(cloud: Cloud) -> set[str]:
    """Of everything that can be listed, by the APIs themselves."""
    sagemaker, found = cloud.client("sagemaker"), set()
    for operation in LISTS:
        for page in sagemaker.get_paginator(operation).paginate():
            listed = next(value for value in page.values() if isinstance(value, list))
            found |= {one[key] for one in listed for key in one if key.endswith("Name") and key != "ModelName"}
            found |= {f"model {one['ModelName']}" for one in listed if "ModelName" in one}
    scaling = cloud.client("application-autoscaling")
    targets = scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    found |= {target["ResourceId"] for target in targets} | {policy["PolicyName"] for policy in policies}
    found |= {alarm["AlarmName"] for alarm in cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]}
    found |= {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}
    found |= {one["repositoryName"] for one in cloud.client("ecr").describe_repositories()["repositories"]}
    found |= {role["RoleName"] for role in cloud.client("iam").list_roles()["Roles"]}
    logs = cloud.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        found.add(group["logGroupName"])
        streams = logs.describe_log_streams(logGroupName=group["logGroupName"])["logStreams"]
        found |= {stream["logStreamName"] for stream in streams}
    return found | {stack["StackName"] for stack in cloud.client("cloudformation").describe_stacks()["Stacks"]}


#: shared by the account, and what AWS cannot delete
STAY = {TRAINING, TRANSFORMS, f"{STACK}-transform-1"}


def test_everything_goes_and_the_second_time_there_is_nothing_to_do(furnished: Cloud) -> None:
    before = names(furnished)
    assert {STACK, BUCKET, f"model {STACK}", f"{STACK}-pretrain-2", f"{ENDPOINTS}/{STACK}"} <= before
    done = furnished.deploy("teardown", "--yes")
    assert done.returncode == 0, done.stderr
    assert names(furnished) == STAY
    assert f"Nothing of the stack {STACK} is left" in done.stdout
    assert "1 transform jobs that are over stay" in done.stdout
    again = furnished.deploy("teardown", "--yes")
    assert again.returncode == 0
    assert again.stdout == f"Nothing of the stack {STACK} exists in eu-central-1.\n"


def test_what_belongs_to_others_stays_however_it_is_called(cloud: Cloud) -> None:
    colleague = furnish_for_others(cloud)
    others = names(cloud)
    assert main(["setup"]) == 0
    furnish(cloud)
    assert main(["setup", "--stack-name", f"{STACK}-two"]) == 0
    two = {name for name in names(cloud) if name.startswith(f"{STACK}-two")}
    assert main(["teardown", "--yes"]) == 0
    assert names(cloud) == others | two | STAY
    running = cloud.client("sagemaker").describe_training_job(TrainingJobName=f"{colleague}-1")
    assert running["TrainingJobStatus"] == "InProgress"


def test_a_bucket_that_only_has_the_name_is_not_emptied(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    """As after somebody exchanged it by hand."""
    assert main(["setup"]) == 0
    s3 = cloud.client("s3")
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "owner", "Value": "them"}]})
    s3.put_object(Bucket=BUCKET, Key="theirs", Body=b"1")
    main(["teardown", "--yes"])
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1, capsys.readouterr()


@pytest.mark.parametrize("call", ["delete_endpoint_config", "delete_training_job"])
def test_interrupted_it_goes_on_when_run_again(
    furnished: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str
) -> None:
    def fail(_: Any) -> ActionResult:
        raise ValidationError("The cable was cut.")

    with monkeypatch.context() as broken:
        broken.setattr(SageMakerResponse, call, fail)
        assert main(["teardown", "--yes"]) == 1
    assert "The cable was cut" in capsys.readouterr().err
    assert BUCKET in names(furnished)
    assert main(["teardown", "--yes"]) == 0
    assert names(furnished) == STAY


def test_a_dry_run_tells_every_call_and_removes_nothing(furnished: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(furnished)
    capsys.readouterr()
    assert main(["teardown", "--dry-run"]) == 0
    told = [json.loads(line)["operation"] for line in capsys.readouterr().out.splitlines()]
    assert list(dict.fromkeys(told)) == [
        *("StopTrainingJob", "DeleteScalingPolicy", "DeregisterScalableTarget", "DeleteAlarms", "TagResource"),
        *("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "DeleteModelPackage", "DeleteModelPackageGroup"),
        *("BatchDeleteImage", "DeleteLogGroup", "DeleteLogStream", "DeleteTrainingJob", "DeleteObjects"),
        *("AbortMultipartUpload", "DeleteStack"),
    ]
    assert names(furnished) == before


def test_without_a_terminal_it_wants_a_yes(furnished: Cloud) -> None:
    before = names(furnished)
    done = furnished.deploy("teardown")
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith("not_confirmed: ")
    assert names(furnished) == before


@pytest.mark.parametrize(("typed", "code"), [("yes", 1), (STACK, 0)])
def test_at_a_terminal_it_wants_the_stacks_name(cloud: Cloud, typed: str, code: int) -> None:
    assert main(["setup"]) == 0
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-m", "deploy", "teardown"],
        cwd=ROOT,
        env=os.environ | cloud.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, f"{typed}\n".encode())
    said, _ = done.communicate(timeout=180)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code
    assert f"Type {STACK} to remove it" in said
    assert (BUCKET in names(cloud)) == bool(code)
