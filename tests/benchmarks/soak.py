"""Ten thousand requests of mixed kinds, and the memory that the service holds after each thousand.

    python -m tests.benchmarks.soak [--requests 10000] [--clients 8]

Good tiles in several codecs and forms of body, scenes, answers in every format, bad tiles of every class of the corpus,
and clients that leave with half a body sent or with no answer read. Prints the resident memory of the service and of
its decode processes, and the ratio of the service's at the end to that after the first thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.benchmarks.load import Request, ask, port, serving
from tests.conftest import Service
from tests.corpus.canary import Canary
from tests.corpus.cases import corpus
from tests.corpus.codecs import WRITTEN, good
from tests.corpus.sizes import NOTHING
from tests.corpus.trial import decode_processes
from tests.imagery import geotiff, reflectance

JSON = "application/json"
ACCEPTED = (JSON, "application/jsonlines", "application/x-npy", "application/vnd.apache.parquet")


class Kinds:
    """Draws requests, the same in every run."""

    def __init__(self) -> None:
        self._chance = random.Random(0)
        self._tiles = [*(good(codec) for codec in WRITTEN), geotiff(reflectance())]
        self._scene = geotiff(reflectance(side=480), compress="deflate")
        with tempfile.TemporaryDirectory() as folder, Canary(Path(folder) / "canary", self._tiles[-1]) as canary:
            self._bad = [case.data for case in corpus(canary, 200) if case.kind != NOTHING]
        self._drawn: list[tuple[int, Callable[[], Request]]] = [
            (40, self.tile), (5, self.scene), (10, self.form), (10, self.instances), (10, self.lines), (25, self.bad),
        ]  # fmt: skip

    def draw(self) -> Request:
        weights, kinds = zip(*self._drawn, strict=True)
        return self._chance.choices(kinds, weights)[0]()

    def tile(self) -> Request:
        outputs = self._chance.choice(("embedding,probabilities", "embedding", "embedding,token_embeddings"))
        accept = JSON if "token" in outputs else self._chance.choice(ACCEPTED)
        return Request(self._chance.choice(self._tiles), accept=accept, query=f"outputs={outputs}")

    def scene(self) -> Request:
        return Request(self._scene, accept=self._chance.choice(ACCEPTED), query="")

    def form(self) -> Request:
        request = httpx.Request("POST", "http://x", files=[("a", ("a.tif", tile)) for tile in self._some()])
        return Request(request.read(), request.headers["content-type"])

    def instances(self) -> Request:
        return Request(json.dumps({"instances": self._encoded()}).encode(), JSON, query="")

    def lines(self) -> Request:
        lines = "\n".join(map(json.dumps, self._encoded()))
        return Request(lines.encode(), "application/jsonlines", "application/jsonlines")

    def bad(self) -> Request:
        return Request(self._chance.choice(self._bad))

    def _encoded(self) -> list[dict[str, str]]:
        return [{"id": str(i), "image": base64.b64encode(tile).decode()} for i, tile in enumerate(self._some())]

    def _some(self) -> list[bytes]:
        return self._chance.sample(self._tiles, 3)


async def leave(service: Service, request: Request, share: float) -> str:
    """Sends this share of a request and goes away without an answer."""
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", port(service))
        writer.write(request.bytes[: int(share * len(request.bytes))])
        await writer.drain()
        writer.transport.abort()
    return "left"


async def thousand(service: Service, kinds: Kinds, count: int, clients: int) -> Counter[str]:
    """How requests were answered."""
    codes: Counter[str] = Counter()
    left = iter(range(count))

    async def client() -> None:
        for number in left:
            request = kinds.draw()
            if number % 20 == 0:
                codes[await leave(service, request, (number % 3) / 2)] += 1
            else:
                reply = await ask(port(service), request)
                codes[reply.code or str(reply.status)] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return codes


def resident_mib(process: Path) -> float:
    return int((process / "status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    asked = parser.parse_args()
    kinds, codes, held = Kinds(), Counter[str](), []
    with serving() as service:
        for number in range(asked.requests // 1000):
            codes += asyncio.run(thousand(service, kinds, 1000, asked.clients))
            held.append(resident_mib(Path(f"/proc/{service.process.pid}")))
            workers = ", ".join(f"{resident_mib(process):.0f}" for process in decode_processes(service))
            print(f"{(number + 1) * 1000} requests: service {held[-1]:.0f} MiB, decode processes {workers}", flush=True)
    print(dict(codes.most_common()))
    print(f"service at the end / after the first thousand: {held[-1] / held[0]:.3f}")


if __name__ == "__main__":
    main()
