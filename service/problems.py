"""An error as the answer that callers get."""

from __future__ import annotations

from starlette.responses import JSONResponse

from service.errors import ServiceError

PROBLEM_JSON = "application/problem+json"  # RFC 9457
HEADERS = {
    "unauthorized": {"WWW-Authenticate": 'Bearer realm="aerial-featurizer"'},
    "receive_timeout": {"Connection": "close"},  # the rest of the request may still come, and nobody reads it
}


def response(error: ServiceError) -> JSONResponse:
    """Problem JSON, with the headers that its code brings."""
    headers = dict(HEADERS.get(error.code, {}))
    if "retry_after_s" in error.more:
        headers["Retry-After"] = str(error.more["retry_after_s"])
    return JSONResponse(error.problem(), error.status, headers, media_type=PROBLEM_JSON)
