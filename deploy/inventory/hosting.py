"""Models and what serves them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.account import Account
from deploy.errors import missing_is_fine
from deploy.inventory.found import Found, has_name, has_tag, of_sagemaker
from deploy.logs import ENDPOINT_LOGS

BY_THE_HOUR, NOTHING = "by the hour even when idle", "nothing while idle"


def models(account: Account) -> Iterator[Found]:
    """Made for endpoints and for transforms."""
    for said in of_sagemaker(account, "models"):
        yield Found(said["name"], said["arn"], {"since": said["CreationTime"]})


def endpoint_configs(account: Account) -> Iterator[Found]:
    """Those in use and older ones."""
    for said in of_sagemaker(account, "endpoint_configs"):
        yield Found(said["name"], said["arn"], {"since": said["CreationTime"]})


def endpoints(account: Account) -> Iterator[Found]:
    """With what runs for them, and what that costs while nobody asks."""
    sagemaker = account.client("sagemaker")
    smallest = {_endpoint(target.name): target.facts["smallest"] for target in scaling_targets(account)}
    for summary in of_sagemaker(account, "endpoints"):
        with missing_is_fine():  # deleted meanwhile
            said = sagemaker.describe_endpoint(EndpointName=summary["name"])
            config: dict[str, Any] = {"ProductionVariants": []}
            with missing_is_fine():  # deleted by hand, and the endpoint runs on
                config = sagemaker.describe_endpoint_config(EndpointConfigName=said["EndpointConfigName"])
            yield Found(summary["name"], summary["arn"], _facts(said, config, smallest.get(summary["name"])))


def scaling_targets(account: Account) -> Iterator[Found]:
    """Of the stack's endpoints, by the resource's id: endpoint/NAME/variant/VARIANT."""
    ours = {said["name"] for said in of_sagemaker(account, "endpoints")}
    pages = account.client("application-autoscaling").get_paginator("describe_scalable_targets")
    for page in pages.paginate(ServiceNamespace="sagemaker"):
        for said in page["ScalableTargets"]:
            if _endpoint(said["ResourceId"]) in ours:
                facts = {
                    "smallest": said["MinCapacity"],
                    "largest": said["MaxCapacity"],
                    "dimension": said["ScalableDimension"],
                }
                yield Found(said["ResourceId"], said.get("ScalableTargetARN", ""), facts)


def alarms(account: Account) -> Iterator[Found]:
    """That commands made; those of target tracking come and go with its policies."""
    cloudwatch = account.client("cloudwatch")
    for page in cloudwatch.get_paginator("describe_alarms").paginate(AlarmNamePrefix=account.stack):
        for said in page["MetricAlarms"]:
            arn = said["AlarmArn"]
            if has_name(account, said["AlarmName"]) and has_tag(
                account, cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]
            ):
                yield Found(said["AlarmName"], arn, {"state": said["StateValue"]})


def log_groups(account: Account) -> Iterator[Found]:
    """Of endpoints: of those that are there, and of those that were and had it tagged before they went."""
    logs = account.client("logs")
    ours = {said["name"] for said in of_sagemaker(account, "endpoints")}
    prefix = ENDPOINT_LOGS + account.stack
    for page in logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=prefix):
        for said in page["logGroups"]:
            endpoint, arn = said["logGroupName"].removeprefix(ENDPOINT_LOGS), said["arn"].removesuffix(":*")
            if has_name(account, endpoint) and (
                endpoint in ours or has_tag(account, logs.list_tags_for_resource(resourceArn=arn)["tags"])
            ):
                yield Found(said["logGroupName"], arn, {"bytes": said.get("storedBytes", 0)})


def _facts(said: Mapping[str, Any], config: Mapping[str, Any], smallest: int | None) -> dict[str, Any]:
    running = {variant["VariantName"]: variant for variant in said.get("ProductionVariants", ())}
    variants = [variant | running.get(variant["VariantName"], {}) for variant in config["ProductionVariants"]]
    sleeps = bool(variants) and all(_sleeps(variant, smallest) for variant in variants)
    return {
        "status": said["EndpointStatus"],
        "mode": _mode(config) if variants else "unknown",
        "instances": ", ".join(map(_instances, variants)),
        "costs": NOTHING if sleeps else BY_THE_HOUR,
        "config": said["EndpointConfigName"],
        "since": said["CreationTime"],
    }


def _endpoint(resource: str) -> str:
    return resource.split("/")[1]


def _mode(config: Mapping[str, Any]) -> str:
    if any("ServerlessConfig" in variant for variant in config["ProductionVariants"]):
        return "serverless"
    return "async" if "AsyncInferenceConfig" in config else "real-time"


def _instances(variant: Mapping[str, Any]) -> str:
    if serverless := variant.get("ServerlessConfig"):
        return f"{serverless['MemorySizeInMB']} MB, at most {serverless['MaxConcurrency']} at once"
    count = variant.get("CurrentInstanceCount", variant.get("InitialInstanceCount", 1))
    return f"{count} × {variant.get('InstanceType', 'unknown')}"


def _sleeps(variant: Mapping[str, Any], smallest: int | None) -> bool:
    """Whether nothing runs when nobody asks."""
    managed = variant.get("ManagedInstanceScaling", {}).get("MinInstanceCount")
    return "ServerlessConfig" in variant or smallest == 0 or managed == 0
