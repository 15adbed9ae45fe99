"""Logs: JSON lines in a container, plain text on a terminal. Nothing from a caller is written unescaped."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a record, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if lines := _traceback(record):
            said["exception"] = "\n".join(lines)
        return json.dumps(said)


class Text(logging.Formatter):
    """One line a record, and then its traceback's."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        lines = [f"{record.levelname} {record.name}: {record.getMessage()}", *_traceback(record)]
        return "\n".join(map(escaped, lines))


def escaped(text: str) -> str:
    """Whatever a terminal would obey or a reader not see (line breaks, colours, direction) as Python writes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _traceback(record: logging.LogRecord) -> list[str]:
    """Its lines. The stack's own breaks are kept; a break in the exception's text is a caller's, maybe."""
    if not record.exc_info:
        return []
    lines: list[str] = []
    for part in traceback.format_exception(*record.exc_info):
        is_stack = part.startswith('  File "')
        lines += part.rstrip("\n").split("\n") if is_stack else [part.strip("\n").replace("\n", "\\n")]
    return lines


def configure(level: str, form: str) -> None:
    """Everything to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else Text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
