"""What Prometheus (and SageMaker, on the same port) may scrape."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """One registry a service, so that two in one process do not count for each other."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter("aerial_requests", "Requests to /invocations by outcome.", ["code"], registry=registry)
        self.request_seconds = Histogram(
            "aerial_request_seconds", "From the first byte of a request to its answer.", registry=registry
        )
        self.patches = Counter("aerial_patches", "Patches answered.", registry=registry)
        self.refused_tiles = Counter("aerial_refused_tiles", "Tiles refused, by code.", ["code"], registry=registry)
        self.batch_size = Histogram(
            "aerial_batch_size",
            "Patches in a batch of the engine.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
            registry=registry,
        )
        self.engine_failures = Counter("aerial_engine_failures", "Batches that failed.", registry=registry)
        self.waiting = Gauge(
            "aerial_patches_waiting", "Patches that are decoded, wait for an engine or are in one.", registry=registry
        )
        self.in_flight = Gauge("aerial_requests_in_flight", "Requests being answered.", registry=registry)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self._registry)
