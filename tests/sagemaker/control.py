"""SageMaker's control plane: each call by its name, those that only keep and tell by their kind."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from tests.sagemaker import api
from tests.sagemaker.api import Refused
from tests.sagemaker.batch_transform import TransformJob
from tests.sagemaker.endpoints import Endpoint
from tests.sagemaker.jobs import Cloud, Job
from tests.sagemaker.processing_job import ProcessingJob
from tests.sagemaker.registry import Registry
from tests.sagemaker.resources import (
    ENDPOINT,
    ENDPOINT_CONFIG,
    KINDS,
    MODEL,
    PROCESSING_JOB,
    TRAINING_JOB,
    TRANSFORM_JOB,
    Kind,
    Record,
    Shelf,
    Tags,
)
from tests.sagemaker.training_job import TrainingJob


class Control:
    """All that is kept of one account in one region."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.tags, self._lock = cloud, Tags(), threading.Lock()
        self.shelves = {kind.name: Shelf(kind, self.tags) for kind in KINDS}
        self.registry = Registry(self.shelves["ModelPackageGroup"], self.shelves["ModelPackage"])
        self.jobs: dict[tuple[str, str], Job] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def knows(self, operation: str) -> bool:
        return self._call(operation) is not None

    def answer(self, operation: str, request: Record) -> Record:
        """Raises Refused."""
        api.check(operation, request)
        call = self._call(operation)
        assert call is not None
        with self._lock:
            return call(request) or {}

    def end(self) -> None:
        """Jobs and endpoints are killed."""
        for job in self.jobs.values():
            job.kill()
        for endpoint in list(self.endpoints.values()):
            endpoint.end()

    def find(self, kind: Kind, name: str) -> Record:
        return self.shelves[kind.name].find(name)

    def _call(self, operation: str) -> Callable[[Record], Record | None] | None:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
        own = getattr(self, name, None) or getattr(self.registry, name, None)
        if own is not None:
            found: Callable[[Record], Record | None] = own
            return found
        for verb in ("Create", "Describe", "Delete", "Stop"):
            kind = self.shelves.get(operation.removeprefix(verb))
            if operation.startswith(verb) and kind is not None:
                return lambda request: getattr(self, f"_{verb.lower()}")(kind, request)
        kind = self.shelves.get(operation.removeprefix("List").removesuffix("s"))
        return kind.list if operation.startswith("List") and kind is not None else None

    def _create(self, shelf: Shelf, request: Record) -> Record:
        return shelf.create(request)

    def _describe(self, shelf: Shelf, request: Record) -> Record:
        return shelf.describe(request[f"{shelf.kind.name}Name"])

    def _delete(self, shelf: Shelf, request: Record) -> None:
        shelf.delete(request[f"{shelf.kind.name}Name"])

    def _stop(self, shelf: Shelf, request: Record) -> None:
        name = request[f"{shelf.kind.name}Name"]
        shelf.find(name)
        self.jobs[shelf.kind.name, name].stop()

    def _start(self, kind: Kind, request: Record, job: Callable[[Record, Cloud], Job]) -> Record:
        created = self.shelves[kind.name].create(request)
        name = request[f"{kind.name}Name"]
        self.jobs[kind.name, name] = job(self.find(kind, name), self.cloud)
        self.jobs[kind.name, name].start()
        return created

    def create_training_job(self, request: Record) -> Record:
        limits = request.get("StoppingCondition", {})
        spot, longest = request.get("EnableManagedSpotTraining"), limits.get("MaxRuntimeInSeconds", 86400)
        if spot and limits.get("MaxWaitTimeInSeconds", 0) < longest:
            said = (
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds"
            )
            raise Refused("ValidationException", said)
        return self._start(TRAINING_JOB, request, TrainingJob)

    def create_processing_job(self, request: Record) -> Record:
        return self._start(PROCESSING_JOB, request, ProcessingJob)

    def create_transform_job(self, request: Record) -> Record:
        model = self.find(MODEL, request["ModelName"])
        if request.get("MaxConcurrentTransforms", 1) * request.get("MaxPayloadInMB", 6) > 100:
            raise Refused("ValidationException", "MaxConcurrentTransforms * MaxPayloadInMB must not exceed 100 MB")
        return self._start(TRANSFORM_JOB, request, lambda record, cloud: TransformJob(record, cloud, model))

    def create_model(self, request: Record) -> Record:
        containers = [request.get("PrimaryContainer"), *request.get("Containers", [])]
        for definition in filter(None, containers):
            url = definition.get("ModelDataUrl")
            if url and not self.cloud.storage.exists(url):
                raise Refused("ValidationException", f"Could not find model data at {url}.")
        return self.shelves["Model"].create(request)

    def create_endpoint_config(self, request: Record) -> Record:
        for variant in request["ProductionVariants"]:
            self.find(MODEL, variant["ModelName"])
        return self.shelves["EndpointConfig"].create(request)

    def create_endpoint(self, request: Record) -> Record:
        self.find(ENDPOINT_CONFIG, request["EndpointConfigName"])
        created = self.shelves["Endpoint"].create(request)
        name = request["EndpointName"]
        self.endpoints[name] = Endpoint(
            self.find(ENDPOINT, name),
            self.cloud,
            lambda config: self.find(ENDPOINT_CONFIG, config),
            lambda model: self.find(MODEL, model),
        )
        self.endpoints[name].create()
        return created

    def update_endpoint(self, request: Record) -> Record:
        record = self.find(ENDPOINT, request["EndpointName"])
        self.find(ENDPOINT_CONFIG, request["EndpointConfigName"])
        self.endpoints[request["EndpointName"]].update(request["EndpointConfigName"])
        return {"EndpointArn": record["EndpointArn"]}

    def update_endpoint_weights_and_capacities(self, request: Record) -> Record:
        record = self.find(ENDPOINT, request["EndpointName"])
        for one in request["DesiredWeightsAndCapacities"]:
            if "DesiredInstanceCount" in one:
                self.endpoints[request["EndpointName"]].scale(one["VariantName"], one["DesiredInstanceCount"])
        return {"EndpointArn": record["EndpointArn"]}

    def delete_endpoint(self, request: Record) -> None:
        name = request["EndpointName"]
        self.find(ENDPOINT, name)

        def gone() -> None:
            self.shelves["Endpoint"].delete(name)
            del self.endpoints[name]

        self.endpoints[name].delete(gone)

    def add_tags(self, request: Record) -> Record:
        self.tags.add(request["ResourceArn"], request["Tags"])
        return {"Tags": self.tags.listed(request["ResourceArn"])}

    def list_tags(self, request: Record) -> Record:
        return {"Tags": self.tags.listed(request["ResourceArn"])}

    def delete_tags(self, request: Record) -> None:
        self.tags.remove(request["ResourceArn"], request["TagKeys"])
