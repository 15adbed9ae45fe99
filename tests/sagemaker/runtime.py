"""InvokeEndpoint and InvokeEndpointAsync: from HTTP to a container and back."""

from __future__ import annotations

import json
from collections.abc import Mapping

from werkzeug.wrappers import Response

from tests.sagemaker.endpoints import Endpoint

PREFIX = "X-Amzn-Sagemaker-"  # as WSGI capitalises it


def invoke(endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> Response:
    told, variant = endpoint.invoke(body, headers, headers.get(f"{PREFIX}Target-Variant"))
    return Response(told.body, 200, {**told.headers, "x-Amzn-Invoked-Production-Variant": variant})


def invoke_later(endpoint: Endpoint, headers: Mapping[str, str], body: bytes) -> Response:
    """202, and where the answer will be."""
    passing = {
        "Content-Type": headers.get(f"{PREFIX}Content-Type", ""),
        "Accept": headers.get(f"{PREFIX}Accept", ""),
        f"{PREFIX}Custom-Attributes": headers.get(f"{PREFIX}Custom-Attributes", ""),
    }
    ticket = endpoint.queue(
        headers.get(f"{PREFIX}Inputlocation"),
        body,
        passing,
        headers.get(f"{PREFIX}Inference-Id"),
        int(headers.get(f"{PREFIX}Invocationtimeoutseconds", 900)),
    )
    places = {f"{PREFIX}OutputLocation": ticket.output}
    if ticket.failure is not None:
        places[f"{PREFIX}FailureLocation"] = ticket.failure
    return Response(json.dumps({"InferenceId": ticket.id}), 202, places, content_type="application/json")


ANSWERS = {"InvokeEndpoint": invoke, "InvokeEndpointAsync": invoke_later}
