"""An artifact into the place where a service looks for it, in one step, the one before kept beside it.

A copy is made in DIR.copying, named DIR.new and exchanged with DIR; what is DIR.new then becomes DIR.previous. So
whenever the program is killed, DIR is the old artifact or the new one, whole. A link is followed. Called again, it
finishes what was left half done.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

from service.model.artifact import MANIFEST, Artifact, ArtifactError, load

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD of fcntl.h, RENAME_EXCHANGE of linux/fs.h


def served(folder: Path) -> Artifact | None:
    """The artifact in `folder`; None if there is no such folder, or nothing in it.

    Finishes first what a killed `put` left. Raises ArtifactError for one that is broken, ValueError for a folder
    that holds something else.
    """
    folder = folder.resolve()
    if not folder.exists() and _new(folder).exists() and _previous(folder).exists():  # killed between two renames
        _previous(folder).rename(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return None
    if not (folder / MANIFEST).exists():
        raise ValueError(f"{folder} holds something else than an artifact")
    return load(folder)


def put(artifact: Artifact, folder: Path) -> Path | None:
    """Puts a copy of `artifact` in the place of `folder`. Returns where the artifact that was there is kept.

    Raises OSError where the folder cannot be exchanged, as for one that is mounted.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = _new(folder)
    if _sha256(folder) != artifact.sha256:
        copying = folder.with_name(f"{folder.name}.copying")
        for left in (copying, new):  # of a program that was killed
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(artifact.path, copying)
        load(copying)
        os.sync()  # what takes the place must be on disk before it does
        copying.rename(new)
        if not folder.exists() or not any(folder.iterdir()):
            new.replace(folder)
        else:
            _exchange(new, folder)
    return _keep(new, folder)


def _keep(new: Path, folder: Path) -> Path | None:
    """After the exchange `new` is the old one: gives it its name."""
    previous = _previous(folder)
    if new.exists():
        shutil.rmtree(previous, ignore_errors=True)
        new.rename(previous)
    return previous if previous.exists() else None


def _new(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.new")


def _previous(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.previous")


def _sha256(folder: Path) -> str | None:
    try:
        return load(folder).sha256
    except ArtifactError:
        return None


def _exchange(new: Path, folder: Path) -> None:
    """Both names change their folders in one step (renameat2, Linux 3.15); else in two, which `served` can finish."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_HERE, os.fsencode(new), _HERE, os.fsencode(folder), _EXCHANGE) == 0:
            return
        if (code := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL):
            raise OSError(code, f"{os.strerror(code)}: {folder} cannot be exchanged with {new}")
    previous = _previous(folder)
    shutil.rmtree(previous, ignore_errors=True)
    folder.rename(previous)
    new.rename(folder)
