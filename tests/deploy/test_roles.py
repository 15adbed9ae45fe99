"""What the stack's roles may do, as IAM was told it."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import cfnlint.api
import cfnlint.decode

from deploy.__main__ import main
from tests.conftest import ROOT
from tests.deploy.conftest import STACK, Cloud

BUCKET = f"arn:aws:s3:::{STACK}-123456789012-eu-central-1"
LOGS = "arn:aws:logs:eu-central-1:123456789012:log-group:"
IMAGE = f"arn:aws:ecr:eu-central-1:123456789012:repository/{STACK}"
TORCH = "arn:aws:ecr:eu-central-1:763104351884:repository/pytorch"

#: the only actions for which AWS allows no narrower resource
ANYWHERE = {"ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"}

ALLOWED = {
    "TrainingRole": [
        ("s3:ListBucket", BUCKET),
        ("s3:GetObject", f"{BUCKET}/stores/ben/images.npy"),
        ("s3:GetObject", f"{BUCKET}/tiles/region/a.tif"),
        ("s3:GetObject", f"{BUCKET}/models/5eed/model.tar.gz"),  # what is served, for the gate
        ("s3:GetObject", f"{BUCKET}/jobs/one/code/training/run.py"),
        ("s3:GetObject", f"{BUCKET}/runs/ben-tiny/checkpoints/3/state.json"),
        ("s3:PutObject", f"{BUCKET}/runs/ben-tiny/checkpoints/4/state.json"),
        ("s3:PutObject", f"{BUCKET}/jobs/one/output/model.tar.gz"),
        ("s3:PutObject", f"{BUCKET}/stores/ben/images.npy"),  # prepare
        ("s3:AbortMultipartUpload", f"{BUCKET}/stores/ben/images.npy"),
        ("ecr:GetAuthorizationToken", "*"),
        ("ecr:BatchGetImage", IMAGE),
        ("ecr:GetDownloadUrlForLayer", TORCH),
        ("ecr:BatchCheckLayerAvailability", f"{TORCH}-training"),
        ("logs:CreateLogGroup", f"{LOGS}/aws/sagemaker/TrainingJobs"),
        ("logs:PutLogEvents", f"{LOGS}/aws/sagemaker/TrainingJobs:log-stream:one/algo-1"),
        ("cloudwatch:PutMetricData", "*"),
    ],
    "ServingRole": [
        ("s3:ListBucket", BUCKET),
        ("s3:GetObject", f"{BUCKET}/models/5eed/model.tar.gz"),
        ("s3:GetObject", f"{BUCKET}/tiles/region/a.tif"),
        ("s3:GetObject", f"{BUCKET}/async/{STACK}/input/a"),
        ("s3:PutObject", f"{BUCKET}/async/{STACK}/output/a.out"),
        ("s3:PutObject", f"{BUCKET}/async/{STACK}/failures/a"),
        ("s3:PutObject", f"{BUCKET}/transforms/one/a.tif.out"),
        ("ecr:GetAuthorizationToken", "*"),
        ("ecr:BatchGetImage", IMAGE),
        ("logs:CreateLogStream", f"{LOGS}/aws/sagemaker/Endpoints/{STACK}:log-stream:one"),
        ("cloudwatch:PutMetricData", "*"),
    ],
}
REFUSED = {
    "TrainingRole": [
        ("s3:PutObject", f"{BUCKET}/models/5eed/model.tar.gz"),
        ("s3:PutObject", f"{BUCKET}/tiles/region/a.tif"),
        ("s3:DeleteObject", f"{BUCKET}/runs/ben-tiny/config.json"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/a.tif"),
        ("ecr:PutImage", IMAGE),
        ("logs:PutLogEvents", f"{LOGS}/aws/lambda/one"),
        ("sagemaker:CreateTrainingJob", "arn:aws:sagemaker:eu-central-1:123456789012:training-job/one"),
        ("iam:PassRole", "*"),
    ],
    "ServingRole": [
        ("s3:PutObject", f"{BUCKET}/models/5eed/model.tar.gz"),
        ("s3:PutObject", f"{BUCKET}/async/{STACK}/input/a"),
        ("s3:GetObject", f"{BUCKET}/stores/ben/images.npy"),
        ("s3:GetObject", f"{BUCKET}/runs/ben-tiny/config.json"),
        ("s3:GetObject", "arn:aws:s3:::somebody-elses/a.tif"),
        ("ecr:BatchGetImage", TORCH),
    ],
}
ROLES = tuple(ALLOWED)


def statements(cloud: Cloud, role: str) -> Iterator[dict[str, Any]]:
    (output,) = (
        output["OutputValue"]
        for output in cloud.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Outputs"]
        if output["OutputKey"] == role
    )
    iam, name = cloud.client("iam"), output.rpartition("/")[2]
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
        # moto keeps those of a stack as Python prints them
        yield from (ast.literal_eval(document) if isinstance(document, str) else document)["Statement"]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def may(cloud: Cloud, role: str, action: str, resource: str) -> bool:
    return any(
        action in listed(statement["Action"])
        and any(resource == one or fnmatchcase(resource, one) for one in listed(statement["Resource"]))
        for statement in statements(cloud, role)
    )


def test_cfn_lint_has_nothing_to_say() -> None:
    template = (ROOT / "deploy/stack/template.yaml").read_text()
    assert cfnlint.api.lint(template, regions=["eu-central-1", "us-east-1", "ap-southeast-2"]) == []


def test_roles_may_do_what_jobs_and_endpoints_need_and_no_more(cloud: Cloud) -> None:
    assert main(["setup"]) == 0
    for role in ROLES:
        denied = [need for need in ALLOWED[role] if not may(cloud, role, *need)]
        granted = [more for more in REFUSED[role] if may(cloud, role, *more)]
        assert (denied, granted) == ([], []), role


def test_no_action_is_a_wildcard_and_few_are_for_any_resource(cloud: Cloud) -> None:
    assert main(["setup", "--read", "s3://imagery/2026", "--read", "s3://archive"]) == 0
    for role in ROLES:
        for statement in statements(cloud, role):
            actions = listed(statement["Action"])
            assert not [action for action in actions if "*" in action]
            if "*" in listed(statement["Resource"]):
                assert set(actions) <= ANYWHERE
            if "cloudwatch:PutMetricData" in actions:
                assert "aws/sagemaker/*" in json.dumps(statement["Condition"])


def test_only_sagemaker_of_this_account_takes_the_roles(cloud: Cloud) -> None:
    assert main(["setup"]) == 0
    for role in cloud.client("iam").list_roles()["Roles"]:
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


ELSEWHERE = ("s3:GetObject", "arn:aws:s3:::imagery/2026/a.tif")


def test_imagery_elsewhere_is_read_once_allowed_until_taken_back(cloud: Cloud) -> None:
    def readers() -> list[str]:
        assert not may(cloud, "ServingRole", "s3:GetObject", "arn:aws:s3:::imagery/2026-private/a.tif")
        return [role for role in ROLES if may(cloud, role, *ELSEWHERE)]

    assert main(["setup"]) == 0
    assert readers() == []
    assert main(["setup", "--read", "s3://imagery/2026"]) == 0
    assert readers() == list(ROLES)
    assert main(["setup"]) == 0
    assert readers() == list(ROLES)
    assert main(["setup", "--read", "none"]) == 0
    assert readers() == []


def test_the_bucket_is_closed_encrypted_and_forgets_what_nobody_needs() -> None:
    """moto makes buckets without all this: read in the template."""
    template, problems = cfnlint.decode.decode_str((ROOT / "deploy/stack/template.yaml").read_text())
    assert not problems
    bucket = template["Resources"]["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert "ServerSideEncryptionByDefault" in bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]
    rules = {rule.get("Prefix"): rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert set(rules) == {None, "jobs/", "async/"}
    assert rules[None]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] < 8
    (statement,) = template["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
