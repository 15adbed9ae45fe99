"""The three ways to host a model, and what each asks of SageMaker and of the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from deploy.errors import DeployError
from deploy.storage import Address

VARIANT = "AllTraffic"
INSTANCE_TYPE = "ml.c7i.xlarge"
START_UP_S = 600  #: of ContainerStartupHealthCheckTimeoutInSeconds: weights are loaded and verified first
GPU_IMAGE = "al2023-ami-sagemaker-inference-gpu-4-1"  #: of the host: older ones have no driver for CUDA 13
PUBLISH_EVERY_S = 60
#: Bytes that one request may have, in 10⁶.
REAL_TIME_MB, ASYNC_MB, SERVERLESS_MB = 25, 1000, 4


class Hosting(Protocol):
    """How an endpoint is hosted."""

    @property
    def kind(self) -> str:
        """As people type it; an endpoint keeps its kind."""

    @property
    def payload_mb(self) -> int:
        """What a request may have."""

    @property
    def isolated(self) -> bool:
        """Whether containers can have no network."""

    @property
    def environment(self) -> dict[str, str]:
        """Settings of the service that differ from its own defaults."""

    def variant(self) -> dict[str, Any]:
        """Its part of CreateEndpointConfig's ProductionVariants."""

    def extras(self, files: Address, /) -> dict[str, Any]:
        """More members of CreateEndpointConfig; `files` is the endpoint's own prefix."""


@dataclass(frozen=True)
class RealTime:
    """Instances that answer within 60 s; between the fewest and the most, by load."""

    instance_type: str = INSTANCE_TYPE
    instances: tuple[int, int] = (1, 1)

    kind, payload_mb, isolated = "realtime", REAL_TIME_MB, True

    def __post_init__(self) -> None:
        require_instance_type(self.instance_type)
        if not 1 <= self.instances[0] <= self.instances[1]:
            raise DeployError("bad_instances", "A real-time endpoint has at least one instance: --instances 1..4.")

    @property
    def environment(self) -> dict[str, str]:
        """Its limit is the service's own default."""
        return {"MAX_BODY_MB": str(self.payload_mb)}

    def variant(self) -> dict[str, Any]:
        """Requests go to the instance with the fewest of them: one tile and a scene take different times."""
        routing = {"RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"}}
        return _on_instances(self.instance_type, self.instances[0]) | routing

    def extras(self, _files: Address, /) -> dict[str, Any]:
        """Detailed metrics."""
        return METRICS


@dataclass(frozen=True)
class Asynchronous:
    """Instances that take requests from a queue, and are gone while it is empty."""

    instance_type: str = INSTANCE_TYPE
    instances: tuple[int, int] = (0, 1)
    concurrency: int = 4  #: requests at a time on an instance

    kind, payload_mb, isolated = "async", ASYNC_MB, True

    def __post_init__(self) -> None:
        require_instance_type(self.instance_type)
        if not 0 <= self.instances[0] <= self.instances[1] or not self.instances[1]:
            raise DeployError("bad_instances", "An async endpoint has from none to some instances: --instances 0..4.")

    @property
    def environment(self) -> dict[str, str]:
        """Nobody waits on the line, so requests may be large and wait long."""
        return {"MAX_BODY_MB": str(self.payload_mb), "MAX_WAIT_S": "3000"}

    def variant(self) -> dict[str, Any]:
        """It starts with an instance, so that a broken model shows at once."""
        return _on_instances(self.instance_type, max(1, self.instances[0]))

    def extras(self, files: Address, /) -> dict[str, Any]:
        """Where answers and failures go."""
        return METRICS | {
            "AsyncInferenceConfig": {
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": self.concurrency},
                "OutputConfig": {
                    "S3OutputPath": str(files / "output/"),
                    "S3FailurePath": str(files / "failures/"),
                },
            }
        }


@dataclass(frozen=True)
class Serverless:
    """No instances; SageMaker allows neither network isolation nor a GPU here, and 4 MB a request."""

    memory_mb: int = 4096
    concurrency: int = 5  #: requests at a time in all

    kind, payload_mb, isolated = "serverless", SERVERLESS_MB, False

    def __post_init__(self) -> None:
        if self.memory_mb not in range(1024, 6145, 1024):
            raise DeployError("bad_memory", "Memory is 1024, 2048, 3072, 4096, 5120 or 6144 MB: --memory 4096.")

    @property
    def environment(self) -> dict[str, str]:
        """One worker: there is one request at a time, and memory is scarce."""
        return {"MAX_BODY_MB": str(self.payload_mb), "DECODE_WORKERS": "1"}

    def variant(self) -> dict[str, Any]:
        """Scaling is SageMaker's."""
        config = {"MemorySizeInMB": self.memory_mb, "MaxConcurrency": self.concurrency}
        return {"VariantName": VARIANT, "ServerlessConfig": config}

    def extras(self, _files: Address, /) -> dict[str, Any]:
        """None."""
        return {}


METRICS = {
    "MetricsConfig": {
        "EnableEnhancedMetrics": True,
        "EnableDetailedObservability": True,  # scrapes the service's own /metrics
        "MetricPublishFrequencyInSeconds": PUBLISH_EVERY_S,
    }
}


def require_instance_type(name: str) -> None:
    """Raises DeployError for one that this software cannot run on."""
    if name.startswith(("ml.p2.", "ml.p3.", "ml.p3dn.")):
        detail = f"{name} has a GPU that CUDA 13 no longer knows; take ml.g5, ml.g6 or a CPU such as {INSTANCE_TYPE}."
        raise DeployError("instance_too_old", detail)
    if not name.startswith("ml."):
        raise DeployError("bad_instance_type", f"{name} is no instance type of SageMaker; they begin with ml.")


def _on_instances(instance_type: str, count: int) -> dict[str, Any]:
    on_gpu = instance_type.startswith(("ml.g", "ml.p"))
    return {
        "VariantName": VARIANT,
        "InstanceType": instance_type,
        "InitialInstanceCount": count,
        "InitialVariantWeight": 1.0,
        "ContainerStartupHealthCheckTimeoutInSeconds": START_UP_S,
    } | ({"InferenceAmiVersion": GPU_IMAGE} if on_gpu else {})


def of(described: dict[str, Any], limits: tuple[int, int] | None) -> RealTime | Asynchronous | Serverless:
    """How an endpoint is hosted, from DescribeEndpointConfig and the capacity between which it scales, if it does."""
    (variant,) = described["ProductionVariants"]
    if serverless := variant.get("ServerlessConfig"):
        return Serverless(serverless["MemorySizeInMB"], serverless["MaxConcurrency"])
    instance_type, count = variant["InstanceType"], variant["InitialInstanceCount"]
    if asynchronous := described.get("AsyncInferenceConfig"):
        concurrency = asynchronous["ClientConfig"]["MaxConcurrentInvocationsPerInstance"]
        return Asynchronous(instance_type, limits or (count, count), concurrency)
    return RealTime(instance_type, limits or (count, count))
