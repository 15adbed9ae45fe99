"""An inventory to read: as a table for people, as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from deploy.inventory.taken import Inventory

UNITS = ("B", "kB", "MB", "GB", "TB")
LONGEST_HASH = 12


def as_text(inventory: Inventory) -> str:
    """A block of lines for each kind, columns aligned."""
    return "\n\n".join("\n".join(_block(inventory, kind)) for kind in inventory)


def as_json(inventory: Inventory) -> str:
    """An object with an array for each kind; times in ISO 8601, sizes in bytes."""
    told = {
        kind: [{"name": thing.name, "arn": thing.arn, **thing.facts} for thing in things]
        for kind, things in inventory.items()
    }
    return json.dumps(told, indent=1, ensure_ascii=False, default=_iso)


def _block(inventory: Inventory, kind: str) -> Iterator[str]:
    things = inventory[kind]
    columns = list(dict.fromkeys(fact for thing in things for fact in thing.facts))
    rows = [[thing.name, *(_readable(column, thing.facts.get(column)) for column in columns)] for thing in things]
    head = [kind.upper(), *(column.replace("_", " ") for column in columns)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in [head, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _readable(fact: str, value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(value, list):
        return ", ".join(value)
    if fact == "bytes" and value is not None:
        return _size(value)
    return str("" if value is None else value)[: LONGEST_HASH if fact == "sha256" else None]


def _size(value: float) -> str:
    power = min(max(len(str(int(value))) - 1, 0) // 3, len(UNITS) - 1)
    return f"{value / 1000**power:.{1 if power else 0}f} {UNITS[power]}"


def _iso(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    raise TypeError(f"{type(value).__name__} has no JSON")
