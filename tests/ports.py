"""Ports of this machine, for programs that are told where to listen."""

from __future__ import annotations

import socket


class HeldPort:
    """A port that nobody else is given until `close`.

    One that was only found to be free may be another's by the time the program that is told it listens. A socket that
    is bound and does not listen keeps it, and SO_REUSEADDR lets the program listen beside it, as servers ask for.
    """

    def __init__(self) -> None:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        self.number: int = self._holder.getsockname()[1]

    def close(self) -> None:
        self._holder.close()
