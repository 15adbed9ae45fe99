"""A production variant: containers of one model, as many as are wanted, and which of them is asked next."""

from __future__ import annotations

import threading
import time
import uuid

from tests.sagemaker import hosting
from tests.sagemaker.api import Refused
from tests.sagemaker.hosting import BadModel, Container, NotHealthy
from tests.sagemaker.jobs import Cloud
from tests.sagemaker.journal import Stream
from tests.sagemaker.resources import Record
from tests.sagemaker.storage import DownloadFailed, split


class Variant:
    """The containers of one production variant, and which of them is asked next."""

    def __init__(self, config: Record, model: Record, cloud: Cloud, endpoint: str) -> None:
        self.config, self.model, self.cloud, self.endpoint = config, model, cloud, endpoint
        self.name: str = config["VariantName"]
        self.serverless = config.get("ServerlessConfig")
        self.desired = 1 if self.serverless else config.get("InitialInstanceCount", 1)
        self.containers: list[Container] = []
        self._lock = threading.Lock()

    @property
    def largest(self) -> int:
        return hosting.SERVERLESS if self.serverless else hosting.REAL_TIME

    def grow_or_shrink(self) -> None:
        """To the desired number. Raises BadModel, NotHealthy, DownloadFailed."""
        window = 180.0 if self.serverless else self.config.get("ContainerStartupHealthCheckTimeoutInSeconds", 240)
        new: list[Container] = []
        try:
            new.extend(self._container() for _ in range(self.desired - len(self.containers)))
            for one in new:
                one.wait_until_healthy(window)
        except (BadModel, NotHealthy, DownloadFailed):
            for one in new:
                one.__exit__()
            raise
        with self._lock:
            gone = self.containers[self.desired :]
            self.containers = [*self.containers[: self.desired], *new]
        for one in gone:
            one.stop()

    def _container(self) -> Container:
        stream = f"{self.name}/i-{uuid.uuid4().hex[:17]}"
        log = self.cloud.stream(f"Endpoints/{self.endpoint}", stream)
        return container(self.cloud, self.model, self.endpoint, log)

    def least_busy(self) -> Container:
        """Where fewest requests are outstanding. Raises Refused."""
        with self._lock:
            running = [one for one in self.containers if one.program.is_running()]
        if self.serverless and sum(one.outstanding for one in running) >= self.serverless["MaxConcurrency"]:
            raise Refused("ThrottlingException", "Rate exceeded: MaxConcurrency requests are in flight", 429)
        if not running:
            raise Refused("ServiceUnavailable", "The endpoint has no instance in service", 503)
        return min(running, key=lambda one: one.outstanding)

    def end(self) -> None:
        self.desired = 0
        self.grow_or_shrink()

    def summary(self) -> Record:
        image = main_container(self.model).get("Image", "")
        weight = self.config.get("InitialVariantWeight", 1.0)
        told: Record = {
            "VariantName": self.name,
            "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": time.time()}],
            "CurrentWeight": weight,
            "DesiredWeight": weight,
        }
        if self.serverless:
            return {**told, "CurrentServerlessConfig": self.serverless}
        counts = {"CurrentInstanceCount": len(self.containers), "DesiredInstanceCount": self.desired}
        managed = {key: self.config.get(key) for key in ("ManagedInstanceScaling", "RoutingConfig")}
        return {**told, **counts, **{key: value for key, value in managed.items() if value}}


def container(cloud: Cloud, model: Record, owner: str, log: Stream, **environment: str) -> Container:
    """A container of a model, not yet healthy. Raises BadModel, DownloadFailed."""
    definition = main_container(model)
    url = definition.get("ModelDataUrl") or definition.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri")
    try:
        archive = cloud.storage.read(*split(url)) if url else None
    except cloud.storage.client.exceptions.ClientError:
        raise DownloadFailed(f"Could not access model data at {url}") from None
    access = cloud.environment(model.get("EnableNetworkIsolation", False))
    command = cloud.images.get(definition.get("Image", ""), hosting.SERVICE)
    told = {**access, **definition.get("Environment", {}), **environment}
    return Container(cloud.root(owner), archive, told, log, command)


def main_container(model: Record) -> Record:
    """The one that answers, in a model of one container."""
    definition: Record = model.get("PrimaryContainer") or model["Containers"][0]
    return definition
