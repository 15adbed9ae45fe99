"""Endpoints: variants that are started, asked, exchanged and ended."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.sagemaker.api import Refused
from tests.sagemaker.asynchronous import Queue, Ticket
from tests.sagemaker.hosting import Answer, BadModel, NotHealthy, TimedOut
from tests.sagemaker.jobs import Cloud
from tests.sagemaker.resources import Record
from tests.sagemaker.storage import DownloadFailed
from tests.sagemaker.variant import Variant

Look = Callable[[str], Record]


class Endpoint:
    """What answers under a name; its record is what DescribeEndpoint tells."""

    def __init__(self, record: Record, cloud: Cloud, config: Look, model: Look) -> None:
        self.record, self.cloud, self._config, self._model = record, cloud, config, model
        self.variants: list[Variant] = []
        self._thread = threading.Thread()
        self._queue: Queue | None = None

    @property
    def name(self) -> str:
        return str(self.record["EndpointName"])

    def create(self) -> None:
        self.record["EndpointStatus"] = "Creating"
        self._change(self.record["EndpointConfigName"], "Failed")

    def update(self, config_name: str) -> None:
        """New containers beside the old, which serve on until the new are healthy, or for good if they never are."""
        self._must_rest()
        self.record["EndpointStatus"] = "Updating"
        self._change(config_name, "InService")

    def scale(self, variant: str, count: int) -> None:
        self._must_rest()
        found = next(one for one in self.variants if one.name == variant)
        self.record["EndpointStatus"] = "Updating"
        found.desired = count
        self._begin(self._scale, found)

    def _scale(self, variant: Variant) -> None:
        variant.grow_or_shrink()
        self._say("InService", ProductionVariants=[one.summary() for one in self.variants])

    def delete(self, gone: Callable[[], None]) -> None:
        """`gone` is called when the last container has ended."""
        self._must_rest()
        self.record["EndpointStatus"] = "Deleting"
        self._begin(self._delete, gone)

    def _delete(self, gone: Callable[[], None]) -> None:
        if self._queue is not None:
            self._queue.close()
        for variant in self.variants:
            variant.end()
        gone()

    def end(self) -> None:
        """At once, whatever it does."""
        if self._queue is not None:
            self._queue.close()
        self._thread.join(60)
        for variant in self.variants:
            for one in variant.containers:
                one.__exit__()

    def join(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def _must_rest(self) -> None:
        if self.record["EndpointStatus"] not in {"InService", "Failed"}:
            arn = self.record["EndpointArn"]
            raise Refused("ValidationException", f'Cannot update in-progress endpoint "{arn}".')

    def _change(self, config_name: str, otherwise: str) -> None:
        config = self._config(config_name)
        new = [
            Variant(one, self._model(one["ModelName"]), self.cloud, self.name) for one in config["ProductionVariants"]
        ]
        self._begin(self._exchange, config, new, otherwise)

    def _begin(self, change: Callable[..., None], *what: Any) -> None:
        self._thread = threading.Thread(target=change, args=what, daemon=True)
        self._thread.start()

    def _exchange(self, config: Record, new: list[Variant], otherwise: str) -> None:
        try:
            for variant in new:
                variant.grow_or_shrink()
        except (BadModel, NotHealthy, DownloadFailed) as error:
            reason = f"The primary container for production variant {variant.name} did not start: {error}."
            if otherwise == "InService":
                self._say("RollingBack")
            for variant in new:
                variant.end()
            self._say(otherwise, FailureReason=reason)
            return
        old, self.variants = self.variants, new
        self.record.pop("FailureReason", None)
        self._say(
            "InService",
            EndpointConfigName=config["EndpointConfigName"],
            ProductionVariants=[variant.summary() for variant in new],
            AsyncInferenceConfig=config.get("AsyncInferenceConfig"),
        )
        self._ask_for_queue(config.get("AsyncInferenceConfig"))
        for variant in old:
            variant.end()

    def _say(self, status: str, **more: Any) -> None:
        self.record.update(more, EndpointStatus=status, LastModifiedTime=time.time())

    def variant(self, target: str | None) -> Variant:
        """The one asked for, or one by weight."""
        if self.record["EndpointStatus"] not in {"InService", "Updating", "RollingBack"} or not self.variants:
            raise Refused("ValidationError", f"Endpoint {self.name} is not in service")
        if target is not None:
            named = [variant for variant in self.variants if variant.name == target]
            if not named:
                raise Refused("ValidationError", f"Variant {target} not found")
            return named[0]
        weights = [variant.config.get("InitialVariantWeight", 1.0) for variant in self.variants]
        return random.choices(self.variants, weights)[0]

    def invoke(self, body: bytes, headers: Mapping[str, str], target: str | None = None) -> tuple[Answer, str]:
        """The container's answer and the variant that gave it. Raises Refused, ModelError for 4xx and 5xx."""
        if self.record.get("AsyncInferenceConfig"):
            raise Refused("ValidationError", f"Endpoint {self.name} is asynchronous: use InvokeEndpointAsync")
        variant = self.variant(target)
        if len(body) > variant.largest:
            raise Refused("ValidationError", f"Body of {len(body)} bytes: at most {variant.largest} are accepted", 413)
        one = variant.least_busy()
        try:
            answer = one.invoke(body, headers)
        except TimedOut:
            message = "Your invocation timed out while waiting for a response from container primary."
            raise self._model_error(0, message, variant) from None
        if answer.status >= 400:
            raise self._model_error(answer.status, answer.body.decode(errors="replace"), variant)
        return answer, variant.name

    def queue(
        self, uri: str | None, body: bytes, headers: Mapping[str, str], name: str | None, timeout_s: int
    ) -> Ticket:
        """Raises Refused for an endpoint that is not asynchronous."""
        if self._queue is None:
            raise Refused("ValidationError", f"Endpoint {self.name} is not asynchronous: use InvokeEndpoint")
        return self._queue.add(uri, body, headers, name, timeout_s)

    def _instances(self) -> int:
        return sum(len(variant.containers) for variant in self.variants)

    def _invoke_once(self, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
        return self.variant(None).least_busy().invoke(body, headers, timeout_s)

    def _ask_for_queue(self, config: Record | None) -> None:
        """The queue lives as long as the endpoint is asynchronous, over updates and scaling to nothing."""
        if config and self._queue is None:
            self._queue = Queue(config, self.cloud.storage, self._invoke_once, self._instances)

    def _model_error(self, status: int, message: str, variant: Variant) -> Refused:
        side = "client" if 400 <= status < 500 else "server"
        return Refused(
            "ModelError",
            f'Received {side} error ({status}) from primary with message "{message}".',
            424,
            OriginalStatusCode=status,
            OriginalMessage=message,
            LogStreamArn=f"arn:aws:logs:log-group:/aws/sagemaker/Endpoints/{self.name}:log-stream:{variant.name}",
        )
