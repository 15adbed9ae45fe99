"""A container's program: its own root in place of /opt/ml, its own environment, an end as docker gives it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.sagemaker.journal import Stream

OPT_ML = "/opt/ml"
# What an image sets. The programs of this interpreter come first: python3, pip3 and torchrun are those of the tests.
IMAGE = {
    "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
}


MARK = "CONTAINER_ROOT"  # what all processes of a container have in common, though some begin sessions of their own


class Root:
    """A folder that stands for /opt/ml in one container. Nothing is mounted: where a path is said, it is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def placed(self, text: str) -> str:
        return text.replace(OPT_ML, str(self.folder))

    def path(self, inside: str) -> Path:
        """Where a path of the container is."""
        assert inside.startswith(OPT_ML), f"{inside} is not below {OPT_ML}"
        return Path(self.placed(inside))

    def place_in_code(self, folder: Path) -> None:
        """Scripts and their settings that say /opt/ml say this root, in archives of sources, too."""
        for archive in folder.rglob("sourcedir.tar.gz"):
            sources = archive.with_name("sources")
            with tarfile.open(archive) as tar:
                tar.extractall(sources, filter="data")
            self.place_in_code(sources)
            with tarfile.open(archive, "w:gz") as tar:
                tar.add(sources, ".")
            shutil.rmtree(sources)
        for file in (file for file in folder.rglob("*") if file.suffix in {".py", ".sh", ".json"}):
            text = file.read_text()
            if OPT_ML in text:
                file.write_text(self.placed(text))


class Program:
    """A process with all that it starts. When the first ends, the rest is killed, as in a container."""

    def __init__(self, command: Sequence[str], root: Root, environment: Mapping[str, str], log: Stream) -> None:
        placed = {name: root.placed(value) for name, value in environment.items()}
        self.process = subprocess.Popen(
            [root.placed(part) for part in command],
            env={**IMAGE, "HOME": str(root.folder), **placed, MARK: str(root.folder)},
            cwd=root.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._mark = f"{MARK}={root.folder}\0".encode()
        self._log = log.follow(self.process.stdout)

    def poll(self) -> int | None:
        """The exit code as docker tells it, 128 + n for one ended by signal n. None while it runs."""
        code = self.process.poll()
        return 128 - code if code is not None and code < 0 else code

    def is_running(self) -> bool:
        return self.poll() is None

    def wait(self, seconds: float | None = None) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        self.process.wait(seconds)
        self.kill()
        self._log.join(60)
        code = self.poll()
        assert code is not None
        return code

    def terminate(self) -> None:
        """SIGTERM to the first process alone: whether its children hear of it is its own affair."""
        if self.is_running():
            self.process.terminate()

    def kill(self) -> None:
        """All processes of the container."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # of others, or gone
                if self._mark in (place / "environ").read_bytes():
                    os.kill(int(place.name), signal.SIGKILL)

    def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL after the grace. Returns the exit code."""
        self.terminate()
        try:
            return self.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.wait()
