"""python -m deploy setup."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.cloudformation.models import cloudformation_backends

from deploy.__main__ import main
from deploy.account import Account
from deploy.job_requests import Request, base_name
from tests.deploy.conftest import STACK, Cloud

FOREIGN = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'


def stack_status(status: str) -> None:
    (stack,) = cloudformation_backends["123456789012"]["eu-central-1"].stacks.values()
    stack.status = status


def test_it_makes_what_it_says_and_run_again_finds_it_so(cloud: Cloud) -> None:
    first = cloud.deploy("setup")
    assert first.returncode == 0, first.stderr
    told = dict(line.split(maxsplit=1) for line in first.stdout.splitlines()[:4])
    assert list(told) == ["Bucket", "Repository", "ServingRole", "TrainingRole"]
    cloud.client("s3").head_bucket(Bucket=told["Bucket"])
    (repository,) = cloud.client("ecr").describe_repositories()["repositories"]
    assert repository["repositoryUri"] == told["Repository"]
    assert {role["Arn"] for role in cloud.client("iam").list_roles()["Roles"]} == {
        told["ServingRole"],
        told["TrainingRole"],
    }
    assert "CREATE_COMPLETE" in first.stderr and "Next: python -m deploy image" in first.stdout

    second = cloud.deploy("setup")
    assert second.returncode == 0 and second.stdout == first.stdout
    assert "as it should be" in second.stderr


def test_everything_carries_the_tag(cloud: Cloud) -> None:
    assert main(["setup", "--stack-name", "mine"]) == 0
    tag = {"Key": "aerial-featurizer:stack", "Value": "mine"}
    (stack,) = cloud.client("cloudformation").describe_stacks()["Stacks"]
    (repository,) = cloud.client("ecr").describe_repositories()["repositories"]
    assert tag in stack["Tags"]
    assert tag in cloud.client("s3").get_bucket_tagging(Bucket="mine-123456789012-eu-central-1")["TagSet"]
    assert tag in cloud.client("ecr").list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
    for role in cloud.client("iam").list_roles()["Roles"]:
        assert tag in cloud.client("iam").list_role_tags(RoleName=role["RoleName"])["Tags"]


def test_a_dry_run_tells_the_request_and_makes_nothing(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup", "--dry-run", "--read", "s3://imagery/2026"]) == 0
    (told,) = map(json.loads, capsys.readouterr().out.splitlines())
    request = told.pop("request")
    assert told == {"service": "cloudformation", "operation": "CreateStack"}
    assert {"ParameterKey": "ReadObjects", "ParameterValue": "arn:aws:s3:::imagery/2026/*"} in request["Parameters"]
    assert request["OnFailure"] == "DELETE"
    assert cloud.client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"])
def test_a_stack_left_in_ruins_is_named_with_what_to_do(status: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["setup"]) == 0
    stack_status(status)
    assert main(["setup"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("stack_unusable: ") and status in said and "then setup again" in said


def test_a_stack_of_somebody_else_is_left_alone(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.client("cloudformation").create_stack(StackName=STACK, TemplateBody=FOREIGN)
    for words in (["setup"], ["status"], ["teardown", "--yes"]):
        assert main(words) == 1
        assert "not_ours: " in capsys.readouterr().err
    (stack,) = cloud.client("cloudformation").describe_stacks()["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


@pytest.mark.usefixtures("cloud")
def test_a_stack_that_fails_says_what_failed_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """moto fails no stack: what CloudFormation tells of one is put before botocore."""
    assert main(["setup"]) == 0
    answers: dict[str, Any] = {
        "CreateStack": {"StackId": "arn:stack"},
        "DescribeStackEvents": {
            "StackEvents": [
                event("4", STACK, "AWS::CloudFormation::Stack", "DELETE_COMPLETE"),
                event("3", "TrainingRole", "AWS::IAM::Role", "CREATE_FAILED", "Resource creation cancelled"),
                event("2", "Bucket", "AWS::S3::Bucket", "CREATE_FAILED", "mine already exists."),
                event("1", STACK, "AWS::CloudFormation::Stack", "CREATE_IN_PROGRESS"),
            ]
        },
        "DescribeStacks": {"Stacks": [{"StackStatus": "DELETE_COMPLETE", "Tags": []}]},
    }
    answer(monkeypatch, answers)
    assert main(["setup", "--stack-name", "mine"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert "  TrainingRole (AWS::IAM::Role): CREATE_FAILED, Resource creation cancelled" in said
    assert said[-1].startswith(
        "stack_failed: Bucket (AWS::S3::Bucket) failed: mine already exists. Nothing of it is left"
    )


def event(identity: str, logical: str, kind: str, status: str, reason: str = "") -> dict[str, str]:
    told = {"EventId": identity, "LogicalResourceId": logical, "ResourceType": kind, "ResourceStatus": status}
    return told | ({"ResourceStatusReason": reason} if reason else {})


def answer(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
    import boto3
    from botocore.awsrequest import AWSResponse

    def before_call(model: Any, params: Any, **_: Any) -> Any:
        if model.name == "DescribeStacks" and "arn:" not in str(params["body"]):
            return None  # asked by name: moto answers that there is none
        return (AWSResponse(None, 200, {}, None), answers[model.name]) if model.name in answers else None

    class Session(boto3.Session):
        def __init__(self, **named: Any) -> None:
            super().__init__(**named)
            self.events.register("before-call.cloudformation", before_call)

    monkeypatch.setattr(boto3, "Session", Session)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--stack-name", "No_Underscores"], "bad_stack_name"),
        (["--stack-name", "a" * 24], "bad_stack_name"),
        (["--read", "/home/me/tiles"], "bad_address"),
        (["--read", "s3://bucket/*"], "bad_address"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    cloud: Cloud, words: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", *words]) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")
    assert cloud.client("cloudformation").describe_stacks()["Stacks"] == []


@pytest.mark.usefixtures("cloud")
def test_the_longest_name_that_a_stack_may_have_stands_whole_before_the_names_of_its_jobs() -> None:
    stack = "a" * 23
    assert main(["setup", "--stack-name", stack]) == 0
    base = base_name(Account.open(stack), Request("pretrain", "a run of a long name" * 9))
    assert base.startswith(f"{stack}-")
    assert len(f"{base}-20261121093000") == 63


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("command", ["setup", "image", "status", "teardown"])
@pytest.mark.parametrize(
    ("missing", "code"), [("AWS_DEFAULT_REGION", "no_region"), ("AWS_ACCESS_KEY_ID", "no_credentials")]
)
def test_without_a_region_or_credentials_every_command_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    missing: str,
    code: str,
) -> None:
    monkeypatch.delenv(missing)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert main([command]) == 1
    assert capsys.readouterr().err.startswith(f"{code}: ")
