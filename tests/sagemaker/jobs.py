"""What training, processing and transform jobs have in common: they begin, can be stopped, and end with a reason."""

from __future__ import annotations

import sys
import threading
import time
import traceback
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.sagemaker.api import REGION, Refused
from tests.sagemaker.journal import Stream
from tests.sagemaker.program import Program, Root
from tests.sagemaker.resources import Kind, Record
from tests.sagemaker.storage import Storage

STOPPING_S = 120.0  # from SIGTERM to SIGKILL, in the documentation of StopTrainingJob
LOOK_EVERY_S = 0.05


class JobFailed(Exception):
    """What FailureReason says."""


class Stopped(Exception):
    """The job was asked to stop, or its time is up."""


@dataclass(frozen=True)
class Cloud:
    """What programs and those who run them find around them."""

    storage: Storage
    logs: Any  #: boto3's client
    folder: Path  #: for the roots of containers
    access: dict[str, str]  #: environment with which a program reaches the APIs
    images: dict[str, Sequence[str]]  #: commands of images that serve; all others are this repository's service

    def root(self, name: str) -> Root:
        return Root(self.folder / f"{name[:40]}-{uuid.uuid4().hex[:8]}")

    def stream(self, group: str, name: str) -> Stream:
        return Stream(self.logs, f"/aws/sagemaker/{group}", name)

    def environment(self, isolated: bool) -> dict[str, str]:
        """Without the network no API is reached, and there are no credentials."""
        away = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_EC2_METADATA_DISABLED": "true"}
        return {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **(away if isolated else self.access)}


class Job(ABC):
    """A job in a thread of its own. What it says of itself stands in its record."""

    kind: ClassVar[Kind]

    def __init__(self, record: Record, cloud: Cloud) -> None:
        self.record, self.cloud = record, cloud
        self.asked_to_stop = threading.Event()
        self.deadline, self.grace_s = float("inf"), STOPPING_S
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.record[self.kind.status] = "InProgress"

    @property
    def name(self) -> str:
        return str(self.record[f"{self.kind.name}Name"])

    @property
    def started_key(self) -> str:
        return self.kind.name.removesuffix("Job") + "StartTime"

    @property
    def ended_key(self) -> str:
        return self.kind.name.removesuffix("Job") + "EndTime"

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        self._thread.join(seconds)

    def stop(self) -> None:
        """Raises Refused for a job that has ended."""
        status = self.record[self.kind.status]
        if status not in {"InProgress", "Stopping"}:
            raise Refused("ValidationException", f"The request was rejected because the job is in status {status}.")
        self._say(**{self.kind.status: "Stopping"})
        self.asked_to_stop.set()

    def kill(self) -> None:
        """Ends it without grace, as no user can."""
        self.grace_s = 0
        self.asked_to_stop.set()
        self.join(60)

    @abstractmethod
    def run(self) -> None:
        """Raises JobFailed or Stopped."""

    def limit(self, default_s: float) -> None:
        """From now on MaxRuntimeInSeconds counts."""
        longest = self.record.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", default_s)
        self._say(**{self.started_key: time.time()})
        self.deadline = time.monotonic() + longest

    def must_end(self) -> bool:
        return self.asked_to_stop.is_set() or time.monotonic() > self.deadline

    def watch(self, programs: list[Program]) -> int:
        """Waits until all have ended with 0, or one with another exit code, which ends the rest. Raises Stopped."""
        while None in (codes := [program.poll() for program in programs]) and not any(codes):
            if self.must_end():
                end_all(programs, self.grace_s)
                raise Stopped
            time.sleep(LOOK_EVERY_S)
        end_all(programs, 0)
        return next((code for code in codes if code), 0)

    def _live(self) -> None:
        ending: dict[str, Any]
        try:
            self.run()
            ending = {self.kind.status: "Completed"}
        except Stopped:
            ending = {self.kind.status: "Stopped"}
        except JobFailed as error:
            ending = {self.kind.status: "Failed", "FailureReason": str(error)[:1024]}
        except Exception:
            traceback.print_exc(file=sys.stderr)
            ending = {self.kind.status: "Failed", "FailureReason": f"InternalServerError: {traceback.format_exc()}"}
        self.ended(ending)
        self._say(**{self.ended_key: time.time()}, **ending)

    def ended(self, ending: dict[str, Any]) -> None:
        """A last word, before the status is told."""
        del ending  # most kinds have none to say

    def _say(self, **more: Any) -> None:
        self.record.update(more, LastModifiedTime=time.time())


def end_all(programs: list[Program], grace_s: float) -> None:
    """SIGTERM to all, SIGKILL to those that are there after the grace."""
    for program in programs:
        if grace_s:
            program.terminate()
    end = time.monotonic() + grace_s
    while any(program.is_running() for program in programs) and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
    for program in programs:
        program.kill()
        program.wait()
