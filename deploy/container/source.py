"""The checkout that an image is built from, and what names its state."""

from __future__ import annotations

import subprocess
from pathlib import Path

from deploy.errors import DeployError

ROOT = Path(__file__).resolve().parents[2]
VERSION = 'version = "'


def checkout() -> Path:
    """The folder with the Dockerfile. Raises DeployError no_checkout where the package is installed without it."""
    if not (ROOT / "Dockerfile").exists():
        raise DeployError("no_checkout", "There is no Dockerfile beside this package: run this from a checkout.")
    return ROOT


def state(folder: Path) -> str:
    """The commit in short, with -changed where files differ from it; the package's version where git is silent."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return next(
            line.removeprefix(VERSION).rstrip('"')
            for line in (folder / "pyproject.toml").read_text().splitlines()
            if line.startswith(VERSION)
        )
    return f"{commit}-changed" if _git(folder, "status", "--porcelain") else commit


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(("git", "-C", str(folder), *words), capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
