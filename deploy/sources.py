"""The code that jobs run: a copy of service/ and training/, and what they need beside torch."""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = "aerial-featurizer"
PACKAGES = ("service", "training")
ARCHIVE = "sourcedir.tar.gz"
#: extras whose requirements jobs have; torch itself comes with the image, and torchvision must fit to it
EXTRAS, OF_THE_IMAGE = ("torch", "training"), ("torch", "torchvision", PROJECT)
_REQUIREMENT = re.compile(r"""(?P<name>[\w.-]+)[^;]*(?:;.*extra\s*==\s*['"](?P<extra>[\w-]+)['"].*)?""")


def requirements() -> list[str]:
    """What the project needs to train, without what must be the image's."""
    wanted = []
    for line in metadata.requires(PROJECT) or ():
        found = _REQUIREMENT.fullmatch(line)
        if found and found["extra"] in (None, *EXTRAS) and found["name"].lower() not in OF_THE_IMAGE:
            wanted.append(line.partition(";")[0].strip())
    return sorted(wanted)


@contextmanager
def staged() -> Iterator[Path]:
    """A folder with the code and its requirements.txt, and beside them both as an archive, gone afterwards."""
    here = Path(__file__).parents[1]
    with TemporaryDirectory() as whole:
        code = Path(whole, "code")
        for package in PACKAGES:
            ignored = shutil.ignore_patterns("__pycache__", "starter")
            shutil.copytree(here / package, code / package, ignore=ignored)
        (code / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements()))
        with tarfile.open(Path(whole, ARCHIVE), "w:gz") as archive:
            for path in sorted(code.iterdir()):
                archive.add(path, path.name)
        yield code
