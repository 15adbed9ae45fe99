"""Refusals that cost little: in overload there are more of them than answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.callers.keys import Keys
from service.errors import ServiceError
from service.featurizer import Featurizer
from service.metrics import Metrics


@dataclass(frozen=True)
class Admitting:
    """Refuses work that would be late by the head of its request, before any of its body is read."""

    featurizer: Featurizer
    metrics: Metrics
    keys: Keys

    def __call__(self, scope: Mapping[str, Any]) -> ServiceError | None:
        """The reason; None for what is let in, and for who has no key, which the application says."""
        if scope["path"] != "/invocations" or scope["method"] != "POST":
            return None
        try:
            self.featurizer.admit(1)
        except ServiceError as error:
            if not self.keys.admit(scope):
                return None
            self.metrics.requests.labels(error.code).inc()
            return error
        return None
