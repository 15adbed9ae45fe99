"""What an endpoint is made of: a model and a config, under a name that their content gives, and how it is changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from deploy import scaling
from deploy.account import Account
from deploy.hosting import VARIANT, Hosting, RealTime, Serverless
from deploy.registry import ModelPackage
from deploy.storage import Address

PREFIXES = "ALLOWED_S3_PREFIXES"
BAKE_S, LONGEST_UPDATE_S = 120, 3600


@dataclass(frozen=True)
class Config:
    """What is to be had beside the model."""

    hosting: Hosting
    manifests: tuple[str, ...] = ()  #: prefixes that requests may name objects of; with any, there is a network

    @property
    def isolated(self) -> bool:
        """Whether containers have no network."""
        return self.hosting.isolated and not self.manifests

    @property
    def environment(self) -> dict[str, str]:
        """Of the container."""
        return self.hosting.environment | ({PREFIXES: ",".join(self.manifests)} if self.manifests else {})


@dataclass(frozen=True)
class Parts:
    """The requests for what an endpoint is made of, under names that their content gives."""

    name: str
    model: dict[str, Any]
    config: dict[str, Any]

    @classmethod
    def of(cls, account: Account, endpoint: str, package: ModelPackage, config: Config) -> Parts:
        """Of CreateModel and CreateEndpointConfig."""
        model = _model(account, package, config.environment, config.isolated)
        variant = config.hosting.variant()
        extras = config.hosting.extras(Address(account.bucket, f"async/{endpoint}/"))
        limits = scaling.tags(config.hosting)
        name = _name(endpoint, package, [model, variant, extras, *limits])
        return cls(
            name,
            {"ModelName": name, **model, "Tags": account.tags},
            {
                "EndpointConfigName": name,
                "ProductionVariants": [variant | {"ModelName": name}],
                **extras,
                "Tags": [*account.tags, *limits],
            },
        )


def transform_model(account: Account, package: ModelPackage, isolated: bool) -> dict[str, Any]:
    """Of CreateModel, for batch transforms: the environment is each job's own."""
    model = _model(account, package, {}, isolated)
    return {"ModelName": _name(f"{account.stack}-transform", package, model), **model, "Tags": account.tags}


def _model(account: Account, package: ModelPackage, environment: dict[str, str], isolated: bool) -> dict[str, Any]:
    return {
        "PrimaryContainer": {
            "Image": package.image,
            "ModelDataUrl": package.data_url,
            "Environment": environment,
        },
        "ExecutionRoleArn": account.outputs["ServingRole"],
        "EnableNetworkIsolation": isolated,
    }


def _name(owner: str, package: ModelPackage, content: Any) -> str:
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{owner}-{package.sha256[:12]}-{digest[:8]}"


def update_request(name: str, config_name: str, hosting: Hosting) -> dict[str, Any]:
    """Of UpdateEndpoint: a new fleet beside the old one, which takes over only if it answers without errors."""
    said: dict[str, Any] = {"EndpointName": name, "EndpointConfigName": config_name}
    if isinstance(hosting, Serverless):
        return said  # guardrails are for instances
    policy = {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": BAKE_S,
        "MaximumExecutionTimeoutInSeconds": LONGEST_UPDATE_S,
    }
    deployment: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if isinstance(hosting, RealTime):
        deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": f"{name}-errors"}]}
        # what scaled out under load stays so; of an async endpoint, which may be at none, one must show that it starts
        said["RetainAllVariantProperties"] = hosting.instances[0] < hosting.instances[1]
    return said | {"DeploymentConfig": deployment}


def errors_alarm_request(account: Account, name: str) -> dict[str, Any]:
    """Of PutMetricAlarm: the service answers 5xx. It makes an update roll back."""
    return {
        "AlarmName": f"{name}-errors",
        "AlarmDescription": f"The endpoint {name} answers with errors of its own",
        "Namespace": "AWS/SageMaker",
        "MetricName": "Invocation5XXErrors",
        "Dimensions": [
            {"Name": "EndpointName", "Value": name},
            {"Name": "VariantName", "Value": VARIANT},
        ],
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 1.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "Tags": account.tags,
    }
