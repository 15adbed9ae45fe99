"""Bodies that are made to be expensive, or to be read in two ways, are refused by their names."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.conftest import Service
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance())
IMAGE = base64.b64encode(TILE)
JSON, LINES, FORM = "application/json", "application/jsonlines", "multipart/form-data; boundary=x"


def part(disposition: bytes = b'name="a"; filename="a.tif"', headers: bytes = b"", data: bytes = TILE) -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + disposition + b"\r\n" + headers + b"\r\n" + data + b"\r\n"


def instances(inside: bytes) -> bytes:
    return b'{"instances": [{' + inside + b"}]}"


END = b"--x--\r\n"
MANY = 4_000_000
REFUSED = {
    "deep": (JSON, b"[" * MANY, "bad_json"),
    "deep, in a line": (LINES, b"[" * MANY, "bad_json"),
    "wide": (JSON, b"[" + (b"[" * 500 + b"]" * 500 + b",") * 4000 + b"[]]", "bad_json"),
    "wide, behind a string with quotes": (JSON, b'["\\"\\\\", ' + b"[" * 500 + b"]" * 500 + b", []" * MANY, "bad_json"),
    "all quotes": (JSON, b'"' * MANY, "bad_json"),
    "a long number": (JSON, instances(b'"id": ' + b"9" * MANY), "bad_json"),
    "a number over any float": (JSON, instances(b'"id": 1e999'), "bad_json"),
    "no number": (JSON, instances(b'"id": NaN'), "bad_json"),
    "half a surrogate pair": (JSON, instances(b'"id": "\\ud800", "image": "' + IMAGE + b'"'), "bad_json"),
    "no UTF-8": (JSON, instances(b'"id": "\xff", "image": "' + IMAGE + b'"'), "bad_json"),
    "a million lines": (LINES, b"{}\n" * 1_000_000, "bad_json"),
    "bands without end": (
        JSON,
        instances(b'"bands": {' + b",".join(b'"%d":"s3://tiles/a"' % i for i in range(1000)) + b"}"),
        "bad_json",
    ),
    "base64 of nothing but spaces": (JSON, instances(b'"image": "' + b" " * MANY + b'"'), "empty_body"),
    "a form without end": (FORM, part(), "bad_multipart"),
    "a form that is cut within its last file": (FORM, part() + part()[:-1000], "bad_multipart"),
    "a form with nothing in it": (FORM, b"", "bad_multipart"),
    "a form with 5,000 files": (FORM, part(data=b"") * 5000 + END, "bad_multipart"),
    "a part with a large header": (FORM, part(headers=b"X: " + b"a" * MANY + b"\r\n") + END, "bad_multipart"),
    "a part with many headers": (FORM, part(headers=b"X: a\r\n" * 1_000_000) + END, "bad_multipart"),
    "a part with a long name": (FORM, part(b'name="' + b"a" * MANY + b'"; filename="a"') + END, "bad_multipart"),
    "a part with many parameters": (FORM, part(b";a=b" * 1_000_000) + END, "bad_multipart"),
    "a part that is no file": (FORM, part(b'name="a"') + END, "bad_multipart"),
    "a part without a name": (FORM, part(b'filename="a.tif"') + END, "bad_multipart"),
    "no boundary": ("multipart/form-data", part() + END, "bad_multipart"),
    "an empty boundary": ('multipart/form-data; boundary=""', part() + END, "bad_multipart"),
    "a boundary over RFC 2046's length": (f"multipart/form-data; boundary={'x' * 1000}", part(), "bad_multipart"),
    "nearly its boundary, often": (FORM, part(data=b"\r\n--y" * 1_000_000) + END, "not_a_tiff"),
    "a charset that decodes nothing": (FORM + "; charset=undefined", part() + END, "bad_multipart"),
    "too much in its media type": ("image/tiff" + ";" * 15_000, TILE, "headers_too_large"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_expensive_or_confusing_body_is_refused_by_its_name(service: Service, name: str) -> None:
    kind, body, code = REFUSED[name]
    response = service.post(body, kind=kind)
    assert response.json()["code"] == code, response.text
    assert 400 <= response.status_code < 500


SERVED = {
    "a name in control characters": (JSON, instances(b'"id": "\\u0000\\u001b[31m", "image": "' + IMAGE + b'"')),
    "base64 in lines": (JSON, instances(b'"image": "' + IMAGE[:1000] + b"\\r\\n" + IMAGE[1000:] + b'"')),
    "a file name with half a surrogate pair": (
        FORM + "; charset=utf-7",
        part(b'name="+2AA-"; filename="+2AA-.tif"') + END,
    ),
    "an encoding that forms no longer have": (FORM, part(headers=b"Content-Transfer-Encoding: base64\r\n") + END),
}


@pytest.mark.parametrize("name", SERVED)
def test_an_odd_body_that_can_be_read_is_served(service: Service, name: str) -> None:
    kind, body = SERVED[name]
    response = service.post(body, kind=kind)
    assert response.status_code == 200, response.text
    assert response.json()["predictions"][0]["embedding"]


def test_options_in_any_unicode_are_answered(service: Service) -> None:
    for said in (r'{"bands": ["\ud800"]}', r'{"\ud800": 1}', '{"top_k": 1e999}', "[" * 5000):
        headers = {"Content-Type": "image/tiff", "X-Amzn-SageMaker-Custom-Attributes": said}
        response = httpx.post(f"{service.url}/invocations", content=TILE, headers=headers, timeout=60)
        assert (response.status_code, response.json()["code"]) == (400, "bad_option")
