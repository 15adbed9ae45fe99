"""The container that serves, as SageMaker starts, asks and ends it."""

from __future__ import annotations

import http.client
import io
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tests.conftest import ROOT
from tests.ports import HeldPort
from tests.sagemaker.journal import Stream
from tests.sagemaker.program import Program, Root

MB = 1_000_000
# Largest bodies, in bytes, by the way in.
REAL_TIME, SERVERLESS, BATCH, ASYNC = 25 * MB, 4 * MB, 100 * MB, 1000 * MB
PING_TIMEOUT_S = 2.0
STARTUP_S = 240.0  # ContainerStartupHealthCheckTimeoutInSeconds sets another
KILL_AFTER_S = 30.0
INVOCATION_S = 60.0
PASSING_IN = ("content-type", "accept", "x-amzn-sagemaker-")
PASSING_OUT = ("content-type", "x-amzn-sagemaker-custom-attributes")
SERVICE = (sys.executable, "-m", "service", "serve")  # the image's ENTRYPOINT, with what SageMaker appends


def begins_with(file: Path, command: Sequence[str]) -> Sequence[str]:
    """The command of an image that serves once there is such a file."""
    return ("/bin/sh", "-c", f'until [ -e "{file}" ]; do sleep 0.05; done; exec "$@"', "sh", *command)


class BadModel(Exception):
    """What FailureReason says of a model.tar.gz."""


class NotHealthy(Exception):
    """What FailureReason says of a container."""


class TimedOut(Exception):
    """The container did not answer in time, or went away before it did."""


@dataclass(frozen=True)
class Answer:
    """What passes out of a container; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def unpack(archive: bytes, folder: Path) -> None:
    """model.tar.gz at /opt/ml/model. Raises BadModel: links and ways out of the folder are refused."""
    folder.mkdir()
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise BadModel(f"{member.name} is a link, or leads out of the archive")
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadModel(f"not a gzip-compressed tar archive ({error})") from None


class Container:
    """One container of the service. Ended by `stop`, or by leaving its context."""

    def __init__(
        self,
        root: Root,
        model: bytes | None,
        environment: Mapping[str, str],
        log: Stream,
        command: Sequence[str] = SERVICE,
    ) -> None:
        """`model`: content of model.tar.gz. `environment`: the model's and the job's, and what reaches the APIs."""
        self.root, self.outstanding = root, 0
        self._lock = threading.Lock()
        self._held = HeldPort()
        self.port = self._held.number
        if model is not None:
            unpack(model, root.folder / "model")
        placed = {"SAGEMAKER_BIND_TO_PORT": str(self.port), "PYTHONPATH": str(ROOT), **environment}
        # Where /opt/ml is the real one, the service decides so by itself.
        if model is not None and any((root.folder / "model").iterdir()):
            placed.setdefault("MODEL_DIR", "/opt/ml/model")
        self.started = time.monotonic()
        self.program = Program(command, root, placed, log)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.program.wait()
        self._held.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ping(self) -> bool:
        """200 within 2 s."""
        try:
            return self._ask("GET", "/ping", {}, b"", PING_TIMEOUT_S).status == 200
        except TimedOut:
            return False

    def wait_until_healthy(self, window_s: float = STARTUP_S) -> None:
        """Asks more often than SageMaker does. Raises NotHealthy after the window, or when the program ends."""
        while not self.ping():
            if not self.program.is_running():
                raise NotHealthy(f"the container ended with exit code {self.program.wait()}")
            if time.monotonic() > self.started + window_s:
                raise NotHealthy(f"the container did not pass the ping health check within {window_s:g} s")
            time.sleep(0.05)

    def execution_parameters(self) -> bytes | None:
        """The body, or None where the route is not."""
        answer = self._ask("GET", "/execution-parameters", {}, b"", PING_TIMEOUT_S)
        return answer.body if answer.status == 200 else None

    def invoke(self, body: bytes, headers: Mapping[str, str], timeout_s: float = INVOCATION_S) -> Answer:
        """Passes only what passes. Raises TimedOut."""
        with self._lock:
            self.outstanding += 1
        try:
            passing = {name: value for name, value in headers.items() if name.lower().startswith(PASSING_IN) and value}
            answer = self._ask("POST", "/invocations", passing, body, timeout_s)
        finally:
            with self._lock:
                self.outstanding -= 1
        return Answer(answer.status, {k: v for k, v in answer.headers.items() if k.lower() in PASSING_OUT}, answer.body)

    def stop(self) -> tuple[int, float]:
        """SIGTERM, SIGKILL 30 s later. Exit code, seconds that it took."""
        began = time.monotonic()
        code = self.program.stop(KILL_AFTER_S)
        self._held.close()
        return code, time.monotonic() - began

    def wait(self, seconds: float) -> int:
        """The exit code of a program that ends by itself. Raises AssertionError."""
        try:
            return self.program.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s") from None

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, {**headers, "Content-Length": str(len(body))})
            response = connection.getresponse()
            return Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except (OSError, http.client.HTTPException) as error:
            raise TimedOut(str(error) or type(error).__name__) from None
        finally:
            connection.close()
