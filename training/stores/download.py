"""Large files from the net: continued where they broke off, checked before use, whole or not there.

Beside NAME stand NAME.part while it is fetched, NAME.part.json (of which version on the server it is a part), and
NAME.json once its checksum was found right. Continued with Range and If-Range (RFC 9110, sections 13.1.5 and 14.2).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from training.files import write_json
from training.progress import Progress

TRIES = 7  # in a row that bring nothing; with pauses of 1, 2, 4 … s they take a minute
TIMEOUT_S = 60.0  # without a byte
BLOCK = 2**20
MB = 10**6
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may be gone a moment later


@dataclass(frozen=True)
class Remote:
    """A file on the net, and what is known of it before it is fetched."""

    url: str
    checksum: str | None = None  #: "sha256:…" or "md5:…"
    size: int | None = None  #: bytes

    @property
    def name(self) -> str:
        """That it is kept under."""
        return PurePosixPath(urlsplit(self.url).path).name


class _Unlike(Exception):
    """The server's file is not the one that was begun."""


def fetch(remote: Remote, folder: Path, first_pause_s: float = 1.0) -> Path:
    """The file below `folder`, fetched unless it is there, its checksum verified.

    Raises ValueError for a wrong checksum or size, OSError where the server or the disk does not give what is needed.
    """
    if urlsplit(remote.url).scheme not in ("http", "https"):
        raise ValueError(f"{remote.url}: only http and https can be fetched")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / remote.name
    if path.exists():
        if not _is_verified(path, remote):
            _verify(path, path, remote)
        return path
    part = folder / f"{remote.name}.part"
    _fetch_all(remote, part, first_pause_s)
    try:
        _verify(part, path, remote)
    except ValueError as error:
        wrong = part.replace(path.with_name(f"{path.name}.wrong"))
        raise ValueError(f"{error}; what came is kept as {wrong}, the next try begins anew") from None
    part.replace(path)
    _state(part).unlink(missing_ok=True)
    return path


def _fetch_all(remote: Remote, part: Path, pause_s: float) -> None:
    furthest = _length(part)
    tries = 0
    while True:
        try:
            if _fetch_more(remote, part):
                return
            reason = "the connection broke off"
        except _Unlike as error:
            part.unlink(missing_ok=True)
            reason = str(error)
        except HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            if error.code not in _PASSING:
                raise OSError(f"{remote.url}: {reason}") from None
        except (URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
        tries = 0 if _length(part) > furthest else tries + 1
        furthest = max(furthest, _length(part))
        if tries == TRIES:
            raise OSError(
                f"{remote.url} cannot be fetched ({reason}). Run the same command again to go on; where there is no "
                "network, fetch the file elsewhere and leave --download out"
            )
        time.sleep(pause_s * 2**tries)


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _fetch_more(remote: Remote, part: Path) -> bool:
    """Asks for what is missing and appends what comes. True if nothing is missing any more."""
    begun = json.loads(_state(part).read_text()) if _state(part).exists() and part.exists() else {}
    done = _length(part) if begun else 0
    if done and done == begun["size"]:
        return True
    headers = {"User-Agent": "aerial-featurizer", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": begun["version"]}
    with _opened(Request(remote.url, headers=headers)) as answer:
        if answer.status != 206:
            done = 0
        version, size = _version(answer.headers), _size(answer, done)
        if done and (version, size) != (begun["version"], begun["size"]):
            raise _Unlike("the file changed on the server")
        if remote.size is not None and size not in (None, remote.size):
            raise ValueError(f"{remote.url} has {size} bytes, not {remote.size}: it is another file than the published")
        _require_room(part, (size or 0) - done)
        part.open("ab" if done else "wb").close()
        if version is not None and size is not None:
            write_json(_state(part), {"url": remote.url, "version": version, "size": size})
        else:
            _state(part).unlink(missing_ok=True)  # it cannot be known later of what this is a part
        return _append(answer, part, done, size)


def _append(answer: http.client.HTTPResponse, part: Path, done: int, size: int | None) -> bool:
    title = f"download {part.stem}"
    with part.open("ab") as file, Progress(title, (size or 0) // MB, "MB", done // MB) as progress:
        while block := _read(answer):
            file.write(block)
            progress.advance((done + len(block)) // MB - done // MB)
            done += len(block)
    return done == size if size is not None else True


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(BLOCK)
    except OSError as error:  # of the net; those of the disk are others
        raise ConnectionError(str(error)) from None


@contextmanager
def _opened(request: Request) -> Iterator[http.client.HTTPResponse]:
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            yield answer
    except HTTPError as error:
        if error.code == 416:
            raise _Unlike("the file on the server is shorter than what was begun") from None
        raise


def _version(headers: http.client.HTTPMessage) -> str | None:
    """What If-Range takes: a strong ETag, else the date of the last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _size(answer: http.client.HTTPResponse, done: int) -> int | None:
    """Bytes of the whole file, if the server says. Raises _Unlike where it sends another part than asked for."""
    if answer.status != 206:
        length = answer.headers.get("Content-Length")
        return int(length) if length else None
    told = re.fullmatch(rf"bytes {done}-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if told is None:
        raise _Unlike("the server sent another part than asked for")
    return int(told[1])


def _require_room(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        raise OSError(f"{part.parent}: {missing / MB:,.0f} MB are missing and {free / MB:,.0f} MB are free")


def _state(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _is_verified(path: Path, remote: Remote) -> bool:
    record = path.with_name(f"{path.name}.json")
    if not record.exists():
        return False
    known = json.loads(record.read_text())
    return known["size"] == path.stat().st_size and remote.checksum in (None, *known["checksums"])


def _verify(file: Path, path: Path, remote: Remote) -> None:
    """Raises ValueError unless the checksum is right, and records it as that of `path`."""
    kind, _, expected = (remote.checksum or "sha256:").partition(":")
    digests = {name: hashlib.new(name) for name in {"sha256", kind}}
    size = file.stat().st_size
    with file.open("rb") as content, Progress(f"check {path.name}", size // MB, "MB") as progress:
        done = 0
        while block := content.read(BLOCK):
            for digest in digests.values():
                digest.update(block)
            progress.advance((done + len(block)) // MB - done // MB)
            done += len(block)
    found: dict[str, Any] = {name: digest.hexdigest() for name, digest in digests.items()}
    if expected and found[kind] != expected:
        raise ValueError(f"{file}: its {kind} is {found[kind]}, not {expected}")
    if not expected:
        print(f"{path}: sha256 {found['sha256']}; nobody said what it should be (--sha256)")
    checksums = [f"{name}:{value}" for name, value in found.items()]
    write_json(path.with_name(f"{path.name}.json"), {"url": remote.url, "size": size, "checksums": checksums})
