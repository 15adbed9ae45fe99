from __future__ import annotations

import json
import logging
import socket

import pytest

from service import logs
from tests.conftest import StartService

#: A line of one's own, a colour, a carriage return, a line separator, a bidirectional override, half of a surrogate.
HOSTILE = "tile\nERROR service: hacked\x1b[31m\r\u2028\u202e\ud800\x9b"


def record(message: str, error: Exception | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("service", logging.WARNING, __file__, 1, "about %s", (message,), exc_info)


def raised(error: Exception) -> Exception:
    try:
        raise ValueError("the cause\nof it") from None
    except ValueError:
        try:
            raise error
        except Exception as caught:
            return caught


def is_plain(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.parametrize("form", [logs.Text(), logs.JsonLines()])
def test_what_a_caller_wrote_makes_no_line_of_its_own_and_moves_no_terminal(form: logging.Formatter) -> None:
    said = form.format(record(HOSTILE))
    assert "\n" not in said
    assert is_plain(said)
    assert "Überall – 東京" in logs.Text().format(record("Überall – 東京"))  # what can be read stays so


def test_a_traceback_keeps_its_lines_and_escapes_the_exceptions_text() -> None:
    said = logs.Text().format(record("x", raised(RuntimeError(HOSTILE))))
    lines = said.split("\n")
    assert is_plain(said)
    assert lines[:2] == ["WARNING service: about x", "Traceback (most recent call last):"]
    assert lines[-1].startswith("RuntimeError: tile\\nERROR service: hacked\\x1b[31m\\r\\u2028")
    assert "ValueError: the cause\\nof it" in lines
    assert "    raise error" in lines
    assert not [line for line in lines if line.startswith("ERROR")]


def test_json_has_the_traceback_too() -> None:
    said = json.loads(logs.JsonLines().format(record("x", raised(RuntimeError(HOSTILE)))))
    assert said["message"] == "about x"
    assert said["exception"].startswith("Traceback")
    assert "\nERROR" not in said["exception"]


def test_a_running_service_writes_no_control_character_whatever_it_is_sent(start: StartService) -> None:
    service = start(LOG_FORMAT="text", LOG_LEVEL="DEBUG")
    service.wait_until_ready()
    host, port = service.url.removeprefix("http://").split(":")
    for said in (b"GET /\x1b[31m\r\n\r\n", b"\x1b]0;title\x07\r\n\r\n", b"GET / HTTP/1.1\r\nX: \x1b[2J\xff\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(said)
            client.recv(65536)
    service.get("/%1b[31m%0aERROR")
    service.post(b"", kind="image/tiff; a=\x1f", **{"\x1b[31m": "\n"})
    form_body = b'--x\r\nContent-Disposition: form-data; name="a"; filename="\x1b[2J\x9b.tif"\r\n\r\nII\r\n--x--\r\n'
    service.post(form_body, kind="multipart/form-data; boundary=x")
    log = service.log.read_text()
    assert "Invalid HTTP request" in log
    assert is_plain(log)
