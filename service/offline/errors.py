"""What ends the command."""

from __future__ import annotations


class OfflineError(Exception):
    """It cannot do what it was asked; the message is one sentence that says what to do."""
