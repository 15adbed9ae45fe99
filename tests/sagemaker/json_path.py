"""The part of JSONPath that DataProcessing's filters need: `$`, `$.a.b`, `$['a']`, `$['a','b']`."""

from __future__ import annotations

import json
import re
from typing import Any

OUTPUT = "SageMakerOutput"  # under which JoinSource=Input puts the answer into a JSON object


def selected(record: bytes, path: str) -> bytes:
    """The part of a JSON record, as a line of JSON; the record itself, to the byte, for `$`."""
    if path == "$":
        return record
    value: Any = json.loads(record)
    for dotted, bracketed in re.findall(r"\.(\w+)|\[([^\]]+)\]", path):
        names = [dotted] if dotted else re.findall(r"'([^']+)'", bracketed)
        value = value[names[0]] if len(names) == 1 else {name: value[name] for name in names if name in value}
    return json.dumps(value).encode() + b"\n"


def joined(record: bytes, answer: bytes) -> bytes:
    """The input record with the answer in it."""
    return json.dumps({**json.loads(record), OUTPUT: json.loads(answer)}).encode() + b"\n"
