"""What a job is to do and on what it runs, and the name that follows from it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploy.account import Account


@dataclass(frozen=True)
class Machines:
    """On what a job runs, how long at most, and in which image."""

    instance_type: str
    instance_count: int = 1
    spot: bool = False
    max_hours: float = 24
    volume_gb: int = 100
    image: str | None = None  #: else SageMaker's newest with torch

    @property
    def seconds(self) -> int:
        """After which the job is stopped."""
        return round(self.max_hours * 3600)


@dataclass(frozen=True)
class Request:
    """What a job is to do."""

    command: str  #: one word
    name: str  #: of its run, or of the store that it makes
    channels: Mapping[str, str] = field(default_factory=dict)  #: name → s3://…
    hyperparameters: Mapping[str, str] = field(default_factory=dict)  #: of a training job
    line: Sequence[str] = ()  #: arguments of a processing job
    smddp: bool = False  #: by the training toolkit, whose launcher alone gives it AllReduce
    passing: tuple[str, ...] = ()  #: channels that may differ when the same is asked again

    @property
    def digest(self) -> str:
        """The same for the same request, whatever it runs on."""
        channels = {name: place for name, place in self.channels.items() if name not in self.passing}
        said = [self.command, self.name, channels, dict(self.hyperparameters), list(self.line)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]


def run_prefix(account: Account, name: str) -> str:
    """Begins the names of all jobs of a run, or of a store."""
    return f"{account.stack}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def base_name(account: Account, request: Request) -> str:
    """Begins the names of all jobs for the same request; the SDK puts the time behind it."""
    return re.sub(r"[^a-zA-Z0-9-]", "-", f"{run_prefix(account, request.name)}-{request.command}-{request.digest}")
