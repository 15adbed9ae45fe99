"""What the APIs accept, refuse, keep and tell; nothing runs."""

from __future__ import annotations

import io
import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import BUCKET, Account

VARIANT = {"VariantName": "all", "ModelName": "one", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}


def refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as error:
        call(**request)
    told: dict[str, Any] = error.value.response["Error"]
    return told


def test_what_the_api_does_not_allow_is_refused_as_aws_refuses_it(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    long = refused(sagemaker.create_model, ModelName="m" * 64, ExecutionRoleArn=account.role)
    assert long["Code"] == "ValidationException"
    assert "length less than or equal to 63" in long["Message"]
    assert "regular expression" in refused(sagemaker.describe_endpoint, EndpointName="a_b")["Message"]
    variants = [{**VARIANT, "InstanceType": "ml.abacus"}]
    wrong = refused(sagemaker.create_endpoint_config, EndpointConfigName="c", ProductionVariants=variants)
    assert "ProductionVariants.1.InstanceType" in wrong["Message"]


def test_what_is_not_there_cannot_be_described_and_what_is_there_cannot_be_made_again(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    missing = refused(sagemaker.describe_endpoint, EndpointName="none")
    assert missing["Code"] == "ValidationException"
    assert missing["Message"].startswith("Could not find endpoint")
    assert (
        "model data"
        in refused(
            sagemaker.create_model, ModelName="m", PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://imagery/no"}
        )["Message"]
    )
    sagemaker.create_model(ModelName="one", ExecutionRoleArn=account.role, PrimaryContainer={"Image": "i"})
    again = refused(sagemaker.create_model, ModelName="one", ExecutionRoleArn=account.role)
    assert again["Message"].startswith("Cannot create already existing model")
    sagemaker.delete_model(ModelName="one")
    assert "Could not find model" in refused(sagemaker.describe_model, ModelName="one")["Message"]


def test_lists_are_filtered_sorted_and_paged(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    for name in ("b-1", "a-1", "c-2"):
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=account.role, PrimaryContainer={"Image": "i"})
    by_name = {"SortBy": "Name", "SortOrder": "Ascending"}
    pages = sagemaker.get_paginator("list_models").paginate(**by_name, PaginationConfig={"PageSize": 2})
    assert [[model["ModelName"] for model in page["Models"]] for page in pages] == [["a-1", "b-1"], ["c-2"]]
    assert [model["ModelName"] for model in sagemaker.list_models(NameContains="-2")["Models"]] == ["c-2"]


def test_tags_are_kept_with_what_they_are_on(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    tags = [{"Key": "aerial-featurizer:stack", "Value": "one"}]
    arn = sagemaker.create_model(
        ModelName="one", ExecutionRoleArn=account.role, PrimaryContainer={"Image": "i"}, Tags=tags
    )["ModelArn"]
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["aerial-featurizer:stack"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "2"}]


def test_versions_of_a_model_are_registered_approved_and_deleted(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="tiny")
    for sha in ("a" * 64, "b" * 64):
        arn = sagemaker.create_model_package(
            ModelPackageGroupName="tiny", CustomerMetadataProperties={"sha256": sha}, SourceUri="s3://imagery/models"
        )["ModelPackageArn"]
    told = sagemaker.describe_model_package(ModelPackageName=arn)
    assert (told["ModelPackageVersion"], told["ModelApprovalStatus"]) == (2, "PendingManualApproval")
    assert told["CustomerMetadataProperties"] == {"sha256": "b" * 64}
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    listed = sagemaker.list_model_packages(ModelPackageGroupName="tiny", ModelApprovalStatus="Approved")
    assert [package["ModelPackageArn"] for package in listed["ModelPackageSummaryList"]] == [arn]
    assert refused(sagemaker.delete_model_package_group, ModelPackageGroupName="tiny")["Code"] == "ConflictException"
    for package in sagemaker.list_model_packages(ModelPackageGroupName="tiny")["ModelPackageSummaryList"]:
        sagemaker.delete_model_package(ModelPackageName=package["ModelPackageArn"])
    sagemaker.delete_model_package_group(ModelPackageGroupName="tiny")
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


def test_a_call_fails_once_when_it_is_told_to_and_does_nothing(account: Account) -> None:
    account.platform.fail_next("CreateModel", "ResourceLimitExceeded", "The account-level service limit …")
    sagemaker = account.client("sagemaker")
    wanted = {"ModelName": "one", "ExecutionRoleArn": account.role, "PrimaryContainer": {"Image": "i"}}
    assert refused(sagemaker.create_model, **wanted)["Code"] == "ResourceLimitExceeded"
    assert sagemaker.list_models()["Models"] == []
    sagemaker.create_model(**wanted)
    account.platform.fail_next("CreateRole", "AccessDenied", status=403)
    assert (
        refused(account.client("iam").create_role, RoleName="r", AssumeRolePolicyDocument="{}")["Code"]
        == "AccessDenied"
    )
    account.platform.fail_next("PUT", "AccessDenied", status=403)
    assert refused(account.client("s3").put_object, Bucket=BUCKET, Key="k")["Code"] == "AccessDenied"


def test_every_call_is_remembered_but_those_of_the_platform_itself(account: Account) -> None:
    sagemaker = account.client("sagemaker")
    sagemaker.create_model(ModelName="one", ExecutionRoleArn=account.role, PrimaryContainer={"Image": "i"})
    account.put("key", b"body")
    assert [call.operation for call in account.platform.calls] == ["sagemaker/CreateModel", "s3/PUT"]
    assert account.platform.requests("CreateModel")[0]["PrimaryContainer"] == {"Image": "i"}


def test_policies_are_simulated_and_can_deny(account: Account) -> None:
    account.platform.denied.add("s3:PutObject")
    asked = {"PolicySourceArn": account.role, "ActionNames": ["s3:PutObject", "s3:GetObject"]}
    results = account.client("iam").simulate_principal_policy(**asked)["EvaluationResults"]
    assert [result["EvalDecision"] for result in results] == ["implicitDeny", "allowed"]


def test_large_bodies_in_chunks_and_in_parts_reach_the_bucket_whole(account: Account) -> None:
    body = bytes(range(256)) * 4096 * 18  # 18 MiB: three parts of a multipart upload, checksums in trailers

    boto3.client("s3").upload_fileobj(io.BytesIO(body), BUCKET, "large")
    assert account.get(account.uri("large")) == body


def test_an_endpoint_can_be_a_scalable_target(account: Account) -> None:
    scaling = account.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/one/variant/all",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=2)
    assert len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]) == 1


def test_what_moto_does_well_is_left_to_it(account: Account) -> None:
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "made-by-a-stack"}}}}
    account.client("cloudformation").create_stack(StackName="one", TemplateBody=json.dumps(template))
    assert "made-by-a-stack" in [bucket["Name"] for bucket in account.client("s3").list_buckets()["Buckets"]]
    alarm = {"AlarmName": "a", "MetricName": "m", "Namespace": "n", "Period": 60, "EvaluationPeriods": 1}
    account.client("cloudwatch").put_metric_alarm(
        **alarm, Threshold=1.0, ComparisonOperator="GreaterThanThreshold", Statistic="Sum"
    )
    told = account.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert [one["AlarmName"] for one in told] == ["a"]
    assert "monitoring/DescribeAlarms" in [call.operation for call in account.platform.calls]
