"""A file and a port that nobody has any business with."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

IN_OPEN, IN_CREATE, IN_ISDIR = 0x20, 0x100, 0x40000000  # inotify(7)
EVENT = struct.Struct("iIII")


class Canary:
    """Knows whether anybody opened its file, made another beside it, or knocked at its port of 127.0.0.1."""

    def __init__(self, folder: Path, content: bytes) -> None:
        folder.mkdir()
        self.file = folder / "canary.tif"  #: what it holds can be read, so that a reader would be content
        self.file.write_bytes(content)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0 or libc.inotify_add_watch(self._events, os.fsencode(folder), IN_OPEN | IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), "inotify is not to be had")

    def touched(self) -> list[str]:
        """What happened since the last look."""
        seen = self._files()
        try:
            self._listener.accept()[0].close()
            seen.append("a connection was made")
        except BlockingIOError:
            pass
        return seen

    def _files(self) -> list[str]:
        try:
            events = os.read(self._events, 65536)
        except BlockingIOError:
            return []
        at, seen = 0, []
        while at < len(events):
            _, what, _, length = EVENT.unpack_from(events, at)
            at += EVENT.size + length
            if not what & IN_ISDIR:  # somebody who lists all folders has opened no file
                seen.append("a file was made" if what & IN_CREATE else "a file was opened")
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._events)
        self._listener.close()
