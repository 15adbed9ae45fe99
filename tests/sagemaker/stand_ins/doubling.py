"""An image that serves: doubles JSON numbers, one a line. It fails, dawdles or waits where a body says so."""

from __future__ import annotations

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

seen: set[bytes] = set()


class Doubling(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.tell(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print(json.dumps({"body": body.decode(), "headers": dict(self.headers)}), flush=True)
        first = body not in seen
        seen.add(body)
        if b"sleep" in body:
            time.sleep(2)
        while b"wait" in body and not Path("go_on").exists():
            time.sleep(0.01)
        self.tell(500, b"once") if b"fail once" in body and first else self.tell(200, doubled(body))

    def tell(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing of its own."""


def doubled(body: bytes) -> bytes:
    return b"".join(json.dumps(json.loads(line) * 2).encode() + b"\n" for line in body.splitlines())


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Doubling).serve_forever()
