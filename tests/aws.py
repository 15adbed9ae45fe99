"""AWS's APIs over a socket of this machine, as moto answers them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

from moto.server import ThreadedMotoServer


@contextmanager
def empty_account() -> Iterator[str]:
    """Where an account is reached in which nothing was done yet. moto keeps one for each process: one at a time."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        empty(address)
        yield address
    finally:
        server.stop()


def empty(address: str) -> None:
    """What other tests left in the account is gone."""
    urlopen(f"{address}/moto-api/reset", b"").close()
