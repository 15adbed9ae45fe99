"""A server of files on a real socket, as good or bad as a test wants it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class FileServer:
    """What it serves and how; `asked` says what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)  #: ETags, "1" unless said
    knows_ranges: bool = True
    drops: list[int] = field(default_factory=list)  #: bytes after which the next answers break off
    refusals: list[int] = field(default_factory=list)  #: statuses of the next answers
    announced: int | None = None  #: a length that is not true
    holds_after: int | None = None  #: bytes after which answers stop, until `go_on`
    asked: list[tuple[str, str | None]] = field(default_factory=list)  #: (file, Range)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            wanted = self.headers.get("Range")
            server.asked.append((name, wanted))
            if server.refusals or name not in server.files:
                self.send_error(server.refusals.pop(0) if server.refusals else 404)
                return
            content, version = server.files[name], f'"{server.versions.get(name, "1")}"'
            start = 0
            if wanted and server.knows_ranges and self.headers.get("If-Range") == version:
                match = re.fullmatch(r"bytes=(\d+)-", wanted)
                assert match
                start = int(match[1])
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(server.announced or len(content) - start))
            self.send_header("ETag", version)
            self.end_headers()
            end = start + server.drops.pop(0) if server.drops else len(content)
            with suppress(ConnectionError):  # who asked may have been killed
                if server.holds_after is not None:
                    self.wfile.write(content[start : server.holds_after])
                    self.wfile.flush()
                    server.go_on.wait()
                    start = max(start, server.holds_after)
                self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server() -> Iterator[FileServer]:
    told = FileServer()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(told)) as serving:
        told.url = f"http://127.0.0.1:{serving.server_port}/files"
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        yield told
        told.go_on.set()
        serving.shutdown()
