"""Tar archives to files, safely: regular files alone, in places that the caller derives from their bare names."""

from __future__ import annotations

import gzip
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from training.files import write_text
from training.progress import Progress

MB = 10**6
DAMAGED = (EOFError, tarfile.TarError, gzip.BadGzipFile, lzma.LZMAError, zlib.error)


def extract(archive: Path, folder: Path, place: Callable[[str], str | None], what: str) -> Path:
    """Puts the files of a .tar, .tar.gz, .tar.xz or .tar.zst into `folder`, and returns it.

    `place` says where below it a file of this name (without its folders) belongs; None leaves it out. `what` tells
    which files these are: what was put there before is not put there again. Killed and called again, it leaves
    whole files as they are. Raises ValueError for an archive that is damaged or has none of them.
    """
    log = folder / "extracted.txt"
    told = f"{archive.name}, {archive.stat().st_size} bytes: {what}\n"
    before = log.read_text() if log.exists() else ""
    if told in before.splitlines(keepends=True):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    size = archive.stat().st_size // MB
    with (
        archive.open("rb", buffering=0) as content,
        _tar(content, archive) as members,
        Progress(f"extract {archive.name}", size, "MB") as progress,
    ):
        seen = 0
        for member in members:
            if member.isfile() and (name := place(PurePosixPath(member.name).name)):
                _put(members, member, folder / name)
                count += 1
            progress.advance(content.tell() // MB - seen)
            seen = content.tell() // MB
    if not count:
        raise ValueError(f"{archive} holds no such files: {what}")
    write_text(log, before + told)
    return folder


def _put(members: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> None:
    if file.exists() and file.stat().st_size == member.size:
        return
    content = members.extractfile(member)
    assert content is not None  # it is a file
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        shutil.copyfileobj(content, out)


@contextmanager
def _tar(content: IO[bytes], archive: Path) -> Iterator[tarfile.TarFile]:
    """The archive as a stream; `tell` of `content` says how much of it was read."""
    try:
        if archive.suffix == ".zst":
            with _unpacked(content, archive) as plain, tarfile.open(fileobj=plain, mode="r|") as members:
                yield members
        else:
            with tarfile.open(fileobj=content, mode="r|*") as members:
                yield members
    except DAMAGED as error:
        raise ValueError(f"{archive}: the archive is broken off or damaged ({error})") from None


@contextmanager
def _unpacked(content: IO[bytes], archive: Path) -> Iterator[IO[bytes]]:
    """By the program zstd: Python's library has none before 3.14."""
    program = shutil.which("zstd")
    if program is None:
        raise FileNotFoundError(f"{archive}: unpacking needs the program zstd; install it, or unpack it elsewhere")
    with subprocess.Popen([program, "-dc"], stdin=content, stdout=subprocess.PIPE) as unpacking:
        assert unpacking.stdout is not None  # asked for a pipe
        try:
            yield unpacking.stdout
            while unpacking.stdout.read(1 << 20):  # what fills the last block of the archive
                pass
            if unpacking.wait():
                raise EOFError("zstd did not come to its end")
        finally:
            unpacking.kill()
