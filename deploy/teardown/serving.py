"""What runs is ended: jobs, scaling, endpoints and what they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from deploy import logs
from deploy.account import Account
from deploy.errors import missing_is_fine
from deploy.inventory.found import Found
from deploy.inventory.jobs import RUNNING
from deploy.waiting import until

JOB_ENDED = ("Completed", "Failed", "Stopped")
SETTLED = ("InService", "OutOfService", "Failed", "UpdateRollbackFailed", "gone")
ALARMS_A_CALL = 100


def stop_jobs(account: Account, found: Sequence[Found]) -> None:
    """Asks all to stop, then waits for each."""
    from botocore.exceptions import ClientError

    sagemaker = account.client("sagemaker")
    for job in found:
        try:
            getattr(sagemaker, f"stop_{job.facts['kind']}_job")(**_named(job))
        except ClientError:
            if _job_status(sagemaker, job) in RUNNING:  # else it ended on its own just now
                raise
    for job in () if account.dry_run else found:
        until(f"{job.facts['kind'].capitalize()} job {job.name}", partial(_job_status, sagemaker, job), JOB_ENDED)


def remove_scaling(account: Account, found: Sequence[Found]) -> None:
    """Policies with their alarms, then the targets."""
    scaling = account.client("application-autoscaling")
    for target in found:
        asked = {"ServiceNamespace": "sagemaker", "ResourceId": target.name}
        for page in scaling.get_paginator("describe_scaling_policies").paginate(**asked):
            for policy in page["ScalingPolicies"]:
                scaling.delete_scaling_policy(
                    **asked, PolicyName=policy["PolicyName"], ScalableDimension=policy["ScalableDimension"]
                )
        scaling.deregister_scalable_target(**asked, ScalableDimension=target.facts["dimension"])


def remove_alarms(account: Account, found: Sequence[Found]) -> None:
    """As many in a call as it takes."""
    names = [alarm.name for alarm in found]
    for start in range(0, len(names), ALARMS_A_CALL):
        account.client("cloudwatch").delete_alarms(AlarmNames=names[start : start + ALARMS_A_CALL])


def mark_log_groups(account: Account, found: Sequence[Found]) -> None:
    """Those of endpoints, before these go."""
    for group in found:
        logs.mark(account, group.arn)


def remove_endpoints(account: Account, found: Sequence[Found]) -> None:
    """One that is changing is waited for first, as it cannot be deleted meanwhile."""
    sagemaker = account.client("sagemaker")

    for endpoint in found:
        look = partial(_endpoint_status, sagemaker, endpoint.name)
        if not account.dry_run and look() not in SETTLED:
            until(f"Endpoint {endpoint.name}", look, SETTLED)
        with missing_is_fine():
            sagemaker.delete_endpoint(EndpointName=endpoint.name)
    for endpoint in () if account.dry_run else found:
        until(f"Endpoint {endpoint.name}", partial(_endpoint_status, sagemaker, endpoint.name), ("gone",))


def remove_endpoint_configs(account: Account, found: Sequence[Found]) -> None:
    """Of endpoints that are gone."""
    for config in found:
        with missing_is_fine():
            account.client("sagemaker").delete_endpoint_config(EndpointConfigName=config.name)


def remove_models(account: Account, found: Sequence[Found]) -> None:
    """SageMaker's entries; the archives are in the bucket."""
    for model in found:
        with missing_is_fine():
            account.client("sagemaker").delete_model(ModelName=model.name)


def _named(job: Found) -> dict[str, str]:
    return {f"{job.facts['kind'].capitalize()}JobName": job.name}


def _job_status(sagemaker: Any, job: Found) -> str:
    kind = job.facts["kind"]
    return str(getattr(sagemaker, f"describe_{kind}_job")(**_named(job))[f"{kind.capitalize()}JobStatus"])


def _endpoint_status(sagemaker: Any, name: str) -> str:
    with missing_is_fine():
        return str(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])
    return "gone"
