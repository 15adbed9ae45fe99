from __future__ import annotations

import json
from functools import partial

import pytest
from botocore.exceptions import ClientError

from deploy import endpoints, registry, scaling
from deploy.account import STACK, Account
from deploy.errors import DeployError
from deploy.hosting import Asynchronous, RealTime, Serverless
from deploy.parts import Config, Parts, errors_alarm_request, update_request
from deploy.registry import ModelPackage
from service.model.artifact import Artifact
from tests.deploy.conftest import BUCKET, Deploy, push_image
from tests.sagemaker.platform import Platform

PACKAGE = ModelPackage("arn:…/aerial-featurizer/1", "a" * 64, f"s3://{BUCKET}/models/a/model.tar.gz", "image@1", True)
TAGS = [{"Key": "aerial-featurizer:stack", "Value": STACK}]
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}


def test_requests_of_a_real_time_endpoint(account: Account) -> None:
    parts = Parts.of(account, "e", PACKAGE, Config(RealTime()))
    role = account.outputs["ServingRole"]
    assert parts.name.startswith("e-aaaaaaaaaaaa-")
    assert parts.model == {
        "ModelName": parts.name,
        "PrimaryContainer": {
            "Image": "image@1", "ModelDataUrl": PACKAGE.data_url, "Environment": {"MAX_BODY_MB": "25"}
        },
        "ExecutionRoleArn": role,
        "EnableNetworkIsolation": True,
        "Tags": TAGS,
    }  # fmt: skip
    assert parts.config == {
        "EndpointConfigName": parts.name,
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic", "ModelName": parts.name, "InstanceType": "ml.c7i.xlarge",
                "InitialInstanceCount": 1, "InitialVariantWeight": 1.0,
                "ContainerStartupHealthCheckTimeoutInSeconds": 600,
                "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
            }
        ],
        "MetricsConfig": {
            "EnableEnhancedMetrics": True, "EnableDetailedObservability": True, "MetricPublishFrequencyInSeconds": 60
        },
        "Tags": TAGS,
    }  # fmt: skip


def test_requests_of_an_async_endpoint(account: Account) -> None:
    parts = Parts.of(account, "e", PACKAGE, Config(Asynchronous()))
    assert parts.model["PrimaryContainer"]["Environment"] == {"MAX_BODY_MB": "1000", "MAX_WAIT_S": "3000"}
    assert parts.config["AsyncInferenceConfig"] == {
        "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 4},
        "OutputConfig": {
            "S3OutputPath": f"s3://{BUCKET}/async/e/output/",
            "S3FailurePath": f"s3://{BUCKET}/async/e/failures/",
        },
    }
    (variant,) = parts.config["ProductionVariants"]
    assert variant["InitialInstanceCount"] == 1 and "RoutingConfig" not in variant
    assert parts.config["Tags"] == [*TAGS, {"Key": "aerial-featurizer:instances", "Value": "0..1"}]
    assert scaling.target_request(account, "e", (0, 3)) == TARGET | {
        "MinCapacity": 0, "MaxCapacity": 3, "Tags": {"aerial-featurizer:stack": STACK}
    }  # fmt: skip
    assert scaling.waking_request("e") == TARGET | {
        "PolicyName": "e-waking",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity", "MetricAggregationType": "Average", "Cooldown": 300,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }  # fmt: skip
    assert scaling.backlog_request("e")["TargetTrackingScalingPolicyConfiguration"] == {
        "TargetValue": 5.0,
        "CustomizedMetricSpecification": {
            "MetricName": "ApproximateBacklogSizePerInstance", "Namespace": "AWS/SageMaker",
            "Dimensions": [{"Name": "EndpointName", "Value": "e"}], "Statistic": "Average",
        },
        "ScaleOutCooldown": 60, "ScaleInCooldown": 300,
    }  # fmt: skip
    assert scaling.waking_alarm_request(account, "e", "policy") | {"AlarmDescription": ""} == {
        "AlarmName": "e-backlog", "AlarmDescription": "", "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity", "Dimensions": [{"Name": "EndpointName", "Value": "e"}],
        "Statistic": "Average", "Period": 60, "EvaluationPeriods": 2, "DatapointsToAlarm": 2, "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "missing",
        "AlarmActions": ["policy"], "Tags": TAGS,
    }  # fmt: skip


def test_requests_of_a_serverless_endpoint_ask_for_nothing_that_it_cannot_have(account: Account) -> None:
    parts = Parts.of(account, "e", PACKAGE, Config(Serverless(2048, 3)))
    assert parts.model["EnableNetworkIsolation"] is False
    assert parts.config == {
        "EndpointConfigName": parts.name,
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic", "ModelName": parts.name,
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 3},
            }
        ],
        "Tags": TAGS,
    }  # fmt: skip
    assert update_request("e", "new", Serverless()) == {"EndpointName": "e", "EndpointConfigName": "new"}


def test_requests_of_an_update_and_of_what_scales_by_load(account: Account) -> None:
    assert update_request("e", "new", RealTime(instances=(1, 4))) == {
        "EndpointName": "e",
        "EndpointConfigName": "new",
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
                "TerminationWaitInSeconds": 120,
                "MaximumExecutionTimeoutInSeconds": 3600,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "e-errors"}]},
        },
    }
    assert errors_alarm_request(account, "e")["MetricName"] == "Invocation5XXErrors"
    assert scaling.load_request("e") == TARGET | {
        "PolicyName": "e-load",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": 8.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
            "ScaleOutCooldown": 60, "ScaleInCooldown": 300,
        },
    }  # fmt: skip


def test_with_manifests_containers_have_a_network_and_may_read_those_prefixes(account: Account) -> None:
    parts = Parts.of(account, "e", PACKAGE, Config(RealTime(), ("s3://tiles/a", "s3://tiles/b")))
    assert parts.model["EnableNetworkIsolation"] is False
    assert parts.model["PrimaryContainer"]["Environment"]["ALLOWED_S3_PREFIXES"] == "s3://tiles/a,s3://tiles/b"


@pytest.mark.parametrize("name", ["ml.p3.2xlarge", "ml.p2.xlarge", "m5.large"])
def test_instances_that_the_software_cannot_run_on_are_refused(name: str) -> None:
    with pytest.raises(DeployError, match=r"ml\."):
        RealTime(name)


def test_an_endpoint_is_made_once_then_updated_and_what_it_was_made_of_goes(
    deploy: Deploy, account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    code, said, _ = deploy("endpoint", tiny_artifact.path, "--instances", "1..2")
    assert code == 0 and tiny_artifact.sha256 in said
    assert scaling.limits(account, STACK) == (1, 2)
    before = len(platform.calls)
    code, _, noted = deploy("endpoint", tiny_artifact.path)
    assert code == 0 and "nothing is changed" in noted
    made = [call.operation for call in platform.calls[before:] if "/Create" in call.operation]
    assert made == []
    push_image(platform, "2")
    assert deploy("endpoint")[0] == 0
    (update,) = platform.requests("UpdateEndpoint")
    assert update["RetainAllVariantProperties"] is True  # it stays hosted as it was
    sagemaker = platform.client("sagemaker")
    (config,) = sagemaker.list_endpoint_configs()["EndpointConfigs"]
    (model,) = sagemaker.list_models()["Models"]
    assert config["EndpointConfigName"] == model["ModelName"] == update["EndpointConfigName"]


def test_an_endpoint_scales_as_it_was_to_when_a_kill_came_before_its_scaling(
    account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    package = registry.register(account, tiny_artifact.path, "image@1", approved=True)
    platform.fail_next("RegisterScalableTarget", "ThrottlingException")
    with pytest.raises(ClientError, match="Throttling"):
        endpoints.put(account, STACK, package, Config(RealTime(instances=(1, 4))))
    assert scaling.limits(account, STACK) is None
    assert not endpoints.put(account, STACK, package).changed
    assert scaling.limits(account, STACK) == (1, 4)


def test_a_model_that_does_not_start_leaves_the_old_one_serving_and_nothing_behind(
    deploy: Deploy, account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    assert deploy("endpoint", tiny_artifact.path)[0] == 0
    before = endpoints.described(account, STACK)["EndpointConfigName"]
    broken = ModelPackage("arn/2", "b" * 64, f"s3://{BUCKET}/models/b/model.tar.gz", "image@1", True)
    platform.client("s3").put_object(Bucket=BUCKET, Key="models/b/model.tar.gz", Body=b"broken")
    with pytest.raises(DeployError, match=r"endpoint_failed: .*serves as before"):
        endpoints.put(account, STACK, broken)
    now = endpoints.described(account, STACK)
    assert (now["EndpointStatus"], now["EndpointConfigName"]) == ("InService", before)
    assert [model["ModelName"] for model in platform.client("sagemaker").list_models()["Models"]] == [before]
    with pytest.raises(DeployError, match=r"other_kind: .*realtime"):
        endpoints.put(account, STACK, broken, Config(Serverless()))


def test_a_change_that_runs_keeps_its_parts_when_waiting_for_it_fails_and_is_waited_for_again(
    account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    package = registry.register(account, tiny_artifact.path, "image@1", approved=True)
    for call, hosting in (("CreateEndpoint", RealTime()), ("UpdateEndpoint", RealTime("ml.c7i.large"))):
        throttle = partial(platform.fail_next, "DescribeEndpoint", "ThrottlingException")
        event = f"after-call.sagemaker.{call}"
        account.client("sagemaker").meta.events.register(event, lambda t=throttle, **_: t(), unique_id=call)
        with pytest.raises(ClientError, match="Throttling"):
            endpoints.put(account, STACK, package, Config(hosting))
        account.client("sagemaker").meta.events.unregister(event, unique_id=call)
        assert not endpoints.put(account, STACK, package, Config(hosting)).changed
        assert len(platform.requests(call)) == 1
        assert endpoints.current(account, STACK).hosting == hosting


def test_a_new_endpoint_that_does_not_start_is_removed_whole(account: Account, platform: Platform) -> None:
    platform.client("s3").put_object(Bucket=BUCKET, Key="models/a/model.tar.gz", Body=b"broken")
    with pytest.raises(DeployError, match="endpoint_failed"):
        endpoints.put(account, STACK, PACKAGE)
    sagemaker = platform.client("sagemaker")
    platform_has = (sagemaker.list_models()["Models"], sagemaker.list_endpoint_configs()["EndpointConfigs"])
    assert platform_has == ([], [])
    logs = platform.client("logs")
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/Endpoints/")["logGroups"]
    tags = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
    assert tags == {"aerial-featurizer:stack": STACK}  # so that teardown finds what tells of the failure


@pytest.mark.usefixtures("account")
def test_a_quota_that_is_used_up_is_named_and_nothing_is_left_behind(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact
) -> None:
    platform.fail_next("CreateEndpoint", "ResourceLimitExceeded", "ml.c7i.xlarge for endpoint usage is 0 Instances")
    code, _, noted = deploy("endpoint", tiny_artifact.path)
    assert code == 1 and "quota_exceeded" in noted and "ml.c7i.xlarge" in noted
    assert platform.client("sagemaker").list_models()["Models"] == []


@pytest.mark.usefixtures("account")
def test_a_dry_run_prints_every_call_that_would_change_something_and_sends_none(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact
) -> None:
    code, said, _ = deploy("endpoint", tiny_artifact.path, "--kind", "async", "--dry-run")
    *calls, _ = said.splitlines()
    assert code == 0
    assert [json.loads(call)["operation"] for call in calls] == [
        "CreateModelPackageGroup", "PutObject", "PutObject", "CreateModelPackage", "CreateModel",
        "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy", "PutScalingPolicy",
        "PutMetricAlarm",
    ]  # fmt: skip
    assert not [call for call in platform.calls if "/Create" in call.operation or call.operation == "s3/PUT"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (("--kind", "serverless", "--instance-type", "ml.c7i.large"), "has no --instance-type"),
        (("--memory", "2048"), "has no --memory"),
        (("--kind", "async", "--instances", "0"), "bad_instances"),
        (("--name", "other"), "bad_name"),
        (("--name", f"{STACK}-transform"), "bad_name"),
    ],
)
@pytest.mark.usefixtures("account")
def test_what_cannot_be_is_told_before_anything_is_made(
    deploy: Deploy, platform: Platform, tiny_artifact: Artifact, said: tuple[str, ...], told: str
) -> None:
    code, _, noted = deploy("endpoint", tiny_artifact.path, *said)
    assert code == 1 and told in noted
    assert not [call for call in platform.calls if "Endpoint" in call.operation and "Create" in call.operation]
