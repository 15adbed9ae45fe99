"""docker, podman or buildah, which share the few words of the command line that are needed here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DeployError

NAMES = ("docker", "podman", "buildah")
PLATFORM = "linux/amd64"
STDERR = 2  # stdout is for the answer
#: or BuildKit pushes an index of the image and of how it was built, which SageMaker does not read
ENVIRONMENT = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


@dataclass(frozen=True)
class Builder:
    """A program that builds and pushes. Under a dry run its command lines are told as JSON and not carried out."""

    program: str
    dry_run: bool = False

    @classmethod
    def find(cls, name: str, dry_run: bool = False) -> Builder:
        """Raises DeployError builder_missing."""
        if shutil.which(name) is None and not dry_run:
            others = " or ".join(other for other in NAMES if other != name)
            detail = f"{name} is not on the PATH: install it, or say --builder {others}."
            raise DeployError("builder_missing", detail)
        return cls(name, dry_run)

    def build(self, source: Path, address: str, labels: Mapping[str, str], target: str) -> str:
        """Builds a target of `source`/Dockerfile; the image's id, sha256:…, empty under a dry run."""
        told = [part for label in labels.items() for part in ("--label", "=".join(label))]
        with tempfile.TemporaryDirectory() as folder:
            identity = Path(folder) / "id"
            named = ["--tag", address, "--iidfile", str(identity)]
            self._run("build", "--platform", PLATFORM, "--target", target, *told, *named, str(source))
            return "" if self.dry_run else identity.read_text().strip()

    def sign_in(self, registry: str, user: str, password: str) -> None:
        """To a registry. The password goes through a pipe: command lines are seen by every user of a machine."""
        self._run("login", "--username", user, "--password-stdin", registry, typed=password)

    def push(self, address: str) -> None:
        """The image that was built under this address."""
        self._run("push", address)

    def _run(self, *words: str, typed: str | None = None) -> None:
        command: Sequence[str] = (self.program, *words)
        if self.dry_run:
            print(json.dumps({"command": command}), flush=True)
            return
        done = subprocess.run(command, input=typed, text=True, stdout=STDERR, env=os.environ | ENVIRONMENT)
        if done.returncode:
            detail = f"{self.program} {words[0]} ended with {done.returncode}; what it said stands above."
            raise DeployError("builder_failed", detail)
