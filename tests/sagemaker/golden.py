"""Calls that change something, field by field, as they were when somebody read them through."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.calls import changes

FOLDER = Path(__file__).parent / "golden"
#: what differs from day to day → what stands for it
PASSING = (
    (r"\b[0-9a-f]{64}\b", "<sha256>"),
    (r"\b[0-9a-f]{40}\b", "<commit>"),
    (r"-[0-9a-f]{12}-[0-9a-f]{8}\b", "-<model>-<config>"),
    (r"\b20\d{12,}\b|\b20\d{6}-\d{6}-[0-9a-f]{4}\b", "<time>"),
    (r"\b20\d\d-\d\d-\d\dT[\d:.]+(Z|\+00:00)?", "<time>"),
    (r"\b\d\.\d{3,}|(?<=\"value\": )[\d.]+", "<figure>"),  # also one that is just 1.0
    (r"(?<=Role-)[A-Z0-9]{12}\b", "<id>"),
    (r"\A[0-9a-f]{36}\Z", "<token>"),
    (r"\AAWSTemplateFormatVersion:.*\Z", "<template.yaml>"),
)


def compare(calls: Iterable[tuple[str, dict[str, Any]]], file_name: str) -> None:
    """Fails where calls differ from those in golden/FILE_NAME; with UPDATE_GOLDEN=1 they are written there instead."""
    told = [
        {"operation": operation, "request": _lasting(request)} for operation, request in calls if _is_told(operation)
    ]
    file = FOLDER / file_name
    if os.environ.get("UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    expected = json.loads(file.read_text())
    assert [call["operation"] for call in told] == [call["operation"] for call in expected]
    for call, known in zip(told, expected, strict=True):
        assert call == known


def _is_told(operation: str) -> bool:
    """S3's objects are told of by their content elsewhere."""
    service, _, name = operation.partition("/")
    return service != "s3" and changes(name)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {_lasting(key): _lasting(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_lasting(part) for part in value]
    if not isinstance(value, str):
        return value
    for pattern, stands in PASSING:
        value = re.sub(pattern, stands, value, flags=re.DOTALL)
    return value
