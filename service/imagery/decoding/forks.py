"""What the service and its fork server say to each other, and the server's side of it.

Over a Unix socket: a niceness with two descriptors asks for a process that reads requests from the one and writes
answers to the other; what comes back is its process id.
"""

from __future__ import annotations

import os
import socket
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

NICENESS = PROCESS = struct.Struct(">I")
READY = PROCESS.pack(0)  # said once, before anything is asked
NOT_FORKED = PROCESS.pack(2**32 - 1)


def serve(service: socket.socket, decode: Callable[[int, int], None]) -> None:
    """Forks processes, each of which runs `decode` with its two descriptors, until the service closes its end."""
    service.sendall(READY)
    while True:
        message, descriptors, _, _ = socket.recv_fds(service, NICENESS.size, 2)
        if not message:
            return
        _collect_the_ended()
        try:
            process = os.fork()
        except OSError:
            service.sendall(NOT_FORKED)
        else:
            if process == 0:
                _run(decode, service, *NICENESS.unpack(message), *descriptors)
            service.sendall(PROCESS.pack(process))
        for descriptor in descriptors:
            os.close(descriptor)


def _run(
    decode: Callable[[int, int], None], service: socket.socket, niceness: int, requests: int, answers: int
) -> NoReturn:
    try:
        service.close()
        os.nice(niceness)
        decode(requests, answers)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # what the server holds is not this process's to put away


def _collect_the_ended() -> None:
    """Their ids are free from now on, and not before: the service has seen that they ended when it asks for others."""
    with suppress(ChildProcessError):  # there are none
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
