from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.errors import ServiceError
from service.offline import s3


class BreakingOff(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_HEAD(self) -> None:
        """Of the whole."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("ETag", '"1"')
        self.end_headers()

    def do_GET(self) -> None:
        """A hundredth."""
        self.do_HEAD()
        self.wfile.write(bytes(10))

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def breaking_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), BreakingOff) as server:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        }.items():
            monkeypatch.setenv(name, value)
        s3._client.cache_clear()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()
    s3._client.cache_clear()


@pytest.mark.usefixtures("breaking_off")
def test_an_object_that_breaks_off_again_and_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as refused:
        s3.download("s3://tiles/a.tif", tmp_path / "a.tif")
    assert refused.value.code == "source_unavailable"
