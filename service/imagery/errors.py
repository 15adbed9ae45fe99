"""Why a tile was refused, under a code that stays the same between releases."""

from __future__ import annotations

from typing import Any


class ImageryError(Exception):
    """A tile that cannot be turned into patches.

    `code` is one of the codes of the HTTP error table (`service/errors.py`), `detail` one sentence
    that says what to do, `limits` the limit that was broken, if one was.
    """

    def __init__(self, code: str, detail: str, limits: dict[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.limits = limits or {}
