"""Endpoints: put where they are not, changed where they differ, and left serving when a change fails.

What an endpoint is made of has names that follow from its content, so that the same request made twice, or again
after a kill, makes nothing new.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deploy import hosting as ways
from deploy import logs, scaling
from deploy.account import Account
from deploy.errors import DeployError, missing_is_fine
from deploy.hosting import Hosting, RealTime
from deploy.parts import PREFIXES, Config, Parts, errors_alarm_request, update_request
from deploy.registry import ModelPackage
from deploy.waiting import until

SETTLED = ("InService", "Failed", "OutOfService", "UpdateRollbackFailed", "absent")
LONGEST_NAME = 63 - len("-0123456789ab-01234567")


@dataclass(frozen=True)
class Endpoint:
    """An endpoint that serves."""

    name: str
    kind: str
    config_name: str
    changed: bool  #: False where everything was as asked already


def put(account: Account, name: str, model: ModelPackage, config: Config | None = None) -> Endpoint:
    """Has the endpoint serve a model; without `config` hosted as it is, or in real time on one instance.

    Waits until it does. When it cannot, the one before goes on serving, what was made for the change is removed,
    and DeployError endpoint_failed tells SageMaker's reason.
    """
    require_name(account, name)
    before = settled(account, name)
    if config is None:
        config = current(account, name) if before else Config(RealTime())
    parts = Parts.of(account, name, model, config)
    if before.get("EndpointStatus") == "Failed":  # of its creation: it never served, and can only be replaced
        _remove(account, name)
        before = {} if account.dry_run else settled(account, name)
    serves = before.get("EndpointConfigName") == parts.name and before["EndpointStatus"] == "InService"
    if not serves:
        _change(account, name, before, parts, config.hosting)
    scaling.apply(account, name, config.hosting)
    sweep(account, name, keep=parts.name)
    return Endpoint(name, config.hosting.kind, parts.name, changed=not serves)


def settled(account: Account, name: str) -> dict[str, Any]:
    """What DescribeEndpoint says once nothing is under way; empty where there is no endpoint."""
    seen = described(account, name)

    def look() -> str:
        seen.clear()
        seen.update(described(account, name))
        return str(seen.get("EndpointStatus", "absent"))

    if seen and seen["EndpointStatus"] not in SETTLED:
        until(f"endpoint {name}", look, SETTLED)
    return seen


def described(account: Account, name: str) -> dict[str, Any]:
    """What DescribeEndpoint says; empty where there is no endpoint."""
    return found(lambda: account.client("sagemaker").describe_endpoint(EndpointName=name))


def current(account: Account, name: str) -> Config:
    """How an endpoint is hosted now. Raises DeployError not_found."""
    sagemaker, said = account.client("sagemaker"), described(account, name)
    if not said:
        raise DeployError("not_found", f"There is no endpoint {name} in {account.region}: `python -m deploy endpoint`.")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=said["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    prefixes = model["PrimaryContainer"].get("Environment", {}).get(PREFIXES, "")
    limits = scaling.limits(account, name) or scaling.intended(account, config["EndpointConfigArn"])
    return Config(ways.of(config, limits), tuple(prefix for prefix in prefixes.split(",") if prefix))


def _change(account: Account, name: str, before: dict[str, Any], parts: Parts, hosting: Hosting) -> None:
    """Creates or updates the endpoint and waits for it."""
    sagemaker = account.client("sagemaker")
    old = current(account, name) if before else None
    if old is not None and old.hosting.kind != hosting.kind:
        detail = f"The endpoint {name} is {old.hosting.kind}, and an endpoint keeps its kind: say another --name."
        raise DeployError("other_kind", detail)
    with _or_nothing(account, parts, old, name):
        if not found(lambda: sagemaker.describe_model(ModelName=parts.name)):
            sagemaker.create_model(**parts.model)
        if not found(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=parts.name)):
            sagemaker.create_endpoint_config(**parts.config)
        if old is None:
            sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=parts.name, Tags=account.tags)
        else:
            if getattr(old.hosting, "instance_type", "") != getattr(hosting, "instance_type", ""):
                scaling.release(account, name)  # SageMaker refuses another type while something scales it
            if isinstance(hosting, RealTime):
                account.client("cloudwatch").put_metric_alarm(**errors_alarm_request(account, name))
            sagemaker.update_endpoint(**update_request(name, parts.name, hosting))
        if not account.dry_run:
            _require_service(account, name, parts.name)


def _require_service(account: Account, name: str, config_name: str) -> None:
    try:
        now = settled(account, name)
    except KeyboardInterrupt:
        detail = f"The change of {name} goes on without you; the same command again waits for it."
        raise DeployError("interrupted", detail) from None
    if (now.get("EndpointStatus"), now.get("EndpointConfigName")) != ("InService", config_name):
        reason = now.get("FailureReason", "SageMaker gives no reason").rstrip(". ")
        keeps = now.get("EndpointStatus") == "InService"
        detail = f"{reason}. " + (
            f"{name} serves as before." if keeps else f"{name} is {now.get('EndpointStatus', 'gone')}."
        )
        raise DeployError("endpoint_failed", f"{detail} Its log is /aws/sagemaker/Endpoints/{name} in CloudWatch.")


@contextmanager
def _or_nothing(account: Account, parts: Parts, old: Config | None, name: str) -> Iterator[None]:
    """Removes what was made for a change that fails, and has the old one scale as it did."""
    try:
        yield
    except DeployError as error:
        if error.code != "interrupted":
            _undo(account, parts, old, name)
        raise
    except Exception:
        _undo(account, parts, old, name)
        raise


def _undo(account: Account, parts: Parts, old: Config | None, name: str) -> None:
    now = described(account, name)
    if now and now["EndpointStatus"] not in SETTLED:
        return  # it is made of these parts soon, whatever ended the waiting; the same command again waits for it
    if old is None and now:
        _remove(account, name)
    elif old is not None:
        scaling.apply(account, name, old.hosting)
    if now.get("EndpointConfigName") != parts.name or old is None:
        _delete(account, parts.name)


def _remove(account: Account, name: str) -> None:
    """One that never served."""
    logs.mark_of(account, name)
    account.client("sagemaker").delete_endpoint(EndpointName=name)


def sweep(account: Account, name: str, keep: str) -> None:
    """Removes models and configs that an endpoint was made of, but for those of one name."""
    sagemaker, own = account.client("sagemaker"), re.compile(re.escape(name) + "-[0-9a-f]{12}-[0-9a-f]{8}")
    names = set()
    for operation, key, member in (
        ("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
        ("list_models", "Models", "ModelName"),
    ):
        for page in sagemaker.get_paginator(operation).paginate(NameContains=name):
            names |= {entry[member] for entry in page[key] if own.fullmatch(entry[member])}
    for old in sorted(names - {keep}):
        _delete(account, old)


def _delete(account: Account, name: str) -> None:
    """Config and model of one name, as far as they are there."""
    sagemaker = account.client("sagemaker")
    if found(lambda: sagemaker.describe_endpoint_config(EndpointConfigName=name)):
        sagemaker.delete_endpoint_config(EndpointConfigName=name)
    if found(lambda: sagemaker.describe_model(ModelName=name)):
        sagemaker.delete_model(ModelName=name)


def found(describe: Any) -> dict[str, Any]:
    """What a Describe call says, nothing where it finds nothing."""
    with missing_is_fine():
        return dict(describe())
    return {}


def require_name(account: Account, name: str) -> None:
    """Raises DeployError bad_name for one that an endpoint of the stack cannot have."""
    if not f"{name}-".startswith(f"{account.stack}-") or not re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", name):
        detail = f"An endpoint's name begins with that of its stack, {account.stack}, and has letters, digits and -."
        raise DeployError("bad_name", detail)
    if name == f"{account.stack}-transform":
        raise DeployError("bad_name", f"Models of transforms are called {name}-…: say another --name.")
    if len(name) > LONGEST_NAME:
        raise DeployError("bad_name", f"{name} is longer than {LONGEST_NAME} characters; its parts need the rest.")
