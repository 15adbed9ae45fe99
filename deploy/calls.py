"""Calls of AWS's APIs as they are made, and those that change something held back: what `--dry-run` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: how the names of operations begin that change nothing
READING = ("Describe", "List", "Get", "Head", "BatchGet", "Filter", "Simulate", "Search", "Validate", "Assume")


def changes(operation: str) -> bool:
    """Whether an operation changes something, or costs something, as invoking an endpoint does."""
    return not operation.startswith(READING)


def hold_back(session: Any, tell: Callable[[dict[str, Any]], None]) -> None:
    """Has every call that changes something told instead of sent; it is answered with names in angle brackets.

    For clients that `session`, a boto3 session, makes from now on. `tell` gets service, operation and request.
    """

    def built(params: dict[str, Any], model: Any, **_: Any) -> None:
        if changes(model.name):
            service = model.service_model.service_name
            tell({"service": service, "operation": model.name, "request": {k: _told(v) for k, v in params.items()}})

    def answered(model: Any, **_: Any) -> Any:
        if not changes(model.name):
            return None
        from botocore.awsrequest import AWSResponse

        shape = model.output_shape
        members = shape.members if shape is not None else {}
        parsed = {name: f"<{name}>" for name, member in members.items() if member.type_name == "string"}
        return AWSResponse(None, 200, {}, None), parsed | {"ResponseMetadata": {"HTTPStatusCode": 200}}

    session.events.register("before-parameter-build", built)
    session.events.register("before-call", answered)


def _told(value: Any) -> Any:
    """As JSON holds it: the content of a file is told by its size alone."""
    if isinstance(value, dict):
        return {key: _told(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_told(part) for part in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    return f"<{type(value).__name__}>"
