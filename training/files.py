"""Files that are whole or not there, whenever the program is killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to; what stands there at the end is put on disk and takes the place of `path` in one step."""
    unfinished = path.with_name(path.name + ".new")
    yield unfinished
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)


def write_text(path: Path, text: str) -> None:
    """Replaces a text file in one step."""
    with replacing(path) as unfinished:
        unfinished.write_text(text)


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file in one step."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
