"""A real service, a corpus, and what came of each file: the answer, how long it took, what the decode processes did."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from service.settings import Settings
from tests.conftest import Service
from tests.corpus.canary import Canary
from tests.corpus.cases import OK, Case
from tests.imagery import geotiff, reflectance

GOOD = geotiff(reflectance())


@dataclass(frozen=True)
class Outcome:
    """Of one case."""

    case: Case
    status: int  #: of HTTP; 0 where none came
    code: str
    seconds: float
    touched: tuple[str, ...]  #: what the canary saw
    then: int  #: status of a good patch right after it

    @property
    def faults(self) -> list[str]:
        """What must not be, on however busy a machine."""
        return [
            *([f"answered {self.status} {self.code}"] if self.code not in self.case.codes else []),
            *self.touched,
            *([f"the next patch was answered {self.then}"] if self.then != 200 else []),
        ]


def attempt(service: Service, client: httpx.Client, case: Case, canary: Canary) -> Outcome:
    """Posts a case, and a good patch after it."""
    canary.touched()
    started = time.perf_counter()
    try:
        answer = _post(service, client, case.data, case.options)
        status, code = answer.status_code, OK if answer.status_code == 200 else str(answer.json().get("code"))
    except (httpx.HTTPError, ValueError) as error:
        status, code = 0, type(error).__name__
    seconds = time.perf_counter() - started
    then = _post(service, client, GOOD, {}).status_code
    return Outcome(case, status, code, seconds, tuple(canary.touched()), then)


def _post(service: Service, client: httpx.Client, data: bytes, options: dict[str, str]) -> httpx.Response:
    return client.post(
        f"{service.url}/invocations",
        content=data,
        headers={"Content-Type": "image/tiff"},
        params={"outputs": "probabilities", **options},
    )


@dataclass
class Memory:
    """Of the decode processes, MiB: the most that one of them had."""

    resident: float = 0
    address_space: float = 0  #: since it was started
    limits: set[float] = field(default_factory=set)  #: of address space, that those had which were ready

    @property
    def has_the_limit(self) -> bool:
        """The kernel sees to it that none has more than its limit, hence whether each had the one that was set."""
        return self.limits == {Settings().decode_memory_mb}


@contextlib.contextmanager
def watched(service: Service) -> Iterator[Memory]:
    """Looks at all decode processes twenty times a second, since those that are killed take their figures with them."""
    seen, ended = Memory(), threading.Event()
    for process in decode_processes(service):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it is gone
            (process / "clear_refs").write_text("5")  # proc(5): forget the highest resident size so far

    def look() -> None:
        while not ended.wait(0.05):
            for process in decode_processes(service):
                _look(process, seen)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()
        for process in decode_processes(service):
            _look(process, seen)


def _look(process: Path, seen: Memory) -> None:
    with contextlib.suppress(OSError, KeyError):  # it is gone
        limits = _limits(process)
        lines = (line.split() for line in (process / "status").read_text().splitlines())
        figures = {words[0]: int(words[1]) / 1024 for words in lines if words[0] in ("VmHWM:", "VmPeak:")}
        if _is_ready(limits):
            seen.limits.add(limits["Max address space"] / 2**20)
        seen.resident = max(seen.resident, figures["VmHWM:"])
        seen.address_space = max(seen.address_space, figures["VmPeak:"])


def decode_processes(service: Service) -> list[Path]:
    """Their folders in /proc."""
    return [process for server in fork_servers(service) for process in _children(server)]


def fork_servers(service: Service) -> list[Path]:
    """One, but while it is replaced."""
    return _children(Path("/proc") / str(service.process.pid))


def send(number: signal.Signals, processes: Iterable[Path]) -> None:
    """A signal to all of them."""
    for process in processes:
        os.kill(int(process.name), number)


def _children(process: Path) -> list[Path]:
    """Of all, those that decode, or that others are forked from which do."""
    try:
        children = (process / "task" / process.name / "children").read_text().split()
    except OSError:
        return []
    return [child for child in (Path("/proc") / pid for pid in children) if does_decode(child)]


def does_decode(process: Path) -> bool:
    """By its command; False once it has ended."""
    try:
        return b"service.imagery.decoding.worker" in (process / "cmdline").read_bytes()
    except OSError:
        return False


def _limits(process: Path) -> dict[str, float]:
    lines = (process / "limits").read_text().splitlines()[1:]
    return {line[:26].strip(): float(line[26:47].replace("unlimited", "inf")) for line in lines}


def _is_ready(limits: dict[str, float]) -> bool:
    """It gave up its descriptors last of all."""
    return limits["Max open files"] == 0


def open_files(service: Service) -> dict[str, set[str]]:
    """What each decode process that is ready holds open, by its folder in /proc."""
    held = {}
    for process in decode_processes(service):
        with contextlib.suppress(OSError, KeyError):  # it is gone
            if _is_ready(_limits(process)):
                held[str(process)] = {str(file.readlink()) for file in (process / "fd").iterdir()}
    return held
