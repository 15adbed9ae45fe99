"""How many instances an endpoint has: by load, by backlog, or always as many."""

from __future__ import annotations

from typing import Any, TypeGuard

from deploy.account import Account
from deploy.hosting import VARIANT, Asynchronous, Hosting, RealTime

REQUESTS_AT_A_TIME = 8  #: on each instance: half of what the service batches
BACKLOG_AT_A_TIME = 5  #: requests that wait, for each instance
LIMITS = "aerial-featurizer:instances"  #: tag of a config: FEWEST..MOST
OUT_COOLDOWN_S, IN_COOLDOWN_S = 60, 300


def target(endpoint: str) -> dict[str, Any]:
    """What Application Auto Scaling calls the endpoint's instances."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


def limits(account: Account, endpoint: str) -> tuple[int, int] | None:
    """Fewest and most instances between which it scales; None if it does not."""
    said = target(endpoint)
    found = account.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace=said["ServiceNamespace"], ResourceIds=[said["ResourceId"]]
    )["ScalableTargets"]
    return (found[0]["MinCapacity"], found[0]["MaxCapacity"]) if found else None


def intended(account: Account, config_arn: str) -> tuple[int, int] | None:
    """The limits that a config was made for: all that tells them when a kill came before `apply`."""
    for page in account.client("sagemaker").get_paginator("list_tags").paginate(ResourceArn=config_arn):
        for tag in page["Tags"]:
            if tag["Key"] == LIMITS:
                fewest, _, most = tag["Value"].partition("..")
                return int(fewest), int(most)
    return None


def tags(hosting: Hosting) -> list[dict[str, str]]:
    """Of a config; none where an endpoint always has as many instances, which the config itself says."""
    return [{"Key": LIMITS, "Value": "{}..{}".format(*hosting.instances)}] if _scales(hosting) else []


def _scales(hosting: Hosting) -> TypeGuard[RealTime | Asynchronous]:
    return isinstance(hosting, RealTime | Asynchronous) and hosting.instances[0] != hosting.instances[1]


def apply(account: Account, endpoint: str, hosting: Hosting) -> None:
    """Has the endpoint scale as its hosting says; what scaled it otherwise goes."""
    autoscaling, cloudwatch = account.client("application-autoscaling"), account.client("cloudwatch")
    if not _scales(hosting):
        release(account, endpoint)
        return
    autoscaling.register_scalable_target(**target_request(account, endpoint, hosting.instances))
    if isinstance(hosting, RealTime):
        autoscaling.put_scaling_policy(**load_request(endpoint))
        return
    autoscaling.put_scaling_policy(**backlog_request(endpoint))
    if hosting.instances[0] == 0:
        woken = autoscaling.put_scaling_policy(**waking_request(endpoint))
        cloudwatch.put_metric_alarm(**waking_alarm_request(account, endpoint, woken["PolicyARN"]))


def release(account: Account, endpoint: str) -> None:
    """Ends scaling, with its policies and alarm."""
    if limits(account, endpoint) is not None:
        account.client("application-autoscaling").deregister_scalable_target(**target(endpoint))
        account.client("cloudwatch").delete_alarms(AlarmNames=[f"{endpoint}-backlog"])


def target_request(account: Account, endpoint: str, instances: tuple[int, int]) -> dict[str, Any]:
    """Of RegisterScalableTarget."""
    tags = {tag["Key"]: tag["Value"] for tag in account.tags}
    return target(endpoint) | {"MinCapacity": instances[0], "MaxCapacity": instances[1], "Tags": tags}


def load_request(endpoint: str) -> dict[str, Any]:
    """Of PutScalingPolicy: by requests at a time, which tells of load within seconds, however long requests take."""
    return target(endpoint) | {
        "PolicyName": f"{endpoint}-load",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(REQUESTS_AT_A_TIME),
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
            "ScaleOutCooldown": OUT_COOLDOWN_S,
            "ScaleInCooldown": IN_COOLDOWN_S,
        },
    }


def backlog_request(endpoint: str) -> dict[str, Any]:
    """Of PutScalingPolicy: by the requests that wait."""
    return target(endpoint) | {
        "PolicyName": f"{endpoint}-backlog",
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(BACKLOG_AT_A_TIME),
            "CustomizedMetricSpecification": {
                "MetricName": "ApproximateBacklogSizePerInstance",
                "Namespace": "AWS/SageMaker",
                "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
                "Statistic": "Average",
            },
            "ScaleOutCooldown": OUT_COOLDOWN_S,
            "ScaleInCooldown": IN_COOLDOWN_S,
        },
    }


def waking_request(endpoint: str) -> dict[str, Any]:
    """Of PutScalingPolicy: from none to one. Target tracking alone waits for a whole backlog."""
    return target(endpoint) | {
        "PolicyName": f"{endpoint}-waking",
        "PolicyType": "StepScaling",
        "StepScalingPolicyConfiguration": {
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Average",
            "Cooldown": IN_COOLDOWN_S,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}],
        },
    }


def waking_alarm_request(account: Account, endpoint: str, policy: str) -> dict[str, Any]:
    """Of PutMetricAlarm: something waits and no instance is there."""
    return {
        "AlarmName": f"{endpoint}-backlog",
        "AlarmDescription": f"Wakes the endpoint {endpoint} when requests wait and no instance is there",
        "Namespace": "AWS/SageMaker",
        "MetricName": "HasBacklogWithoutCapacity",
        "Dimensions": [{"Name": "EndpointName", "Value": endpoint}],
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "missing",
        "AlarmActions": [policy],
        "Tags": account.tags,
    }
