from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from service.model.artifact import Artifact, load
from tests.conftest import ROOT
from training import place

#: `put`, ended by SIGKILL at the n-th thing that it does to the disk, with the kernel's exchange of names or without.
KILLED = """
import os, signal, sys
from pathlib import Path
from service.model.artifact import load
from training import place
artifact, folder, n = load(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
if sys.argv[4] == "without":
    place._EXCHANGE = 1 << 30
deeds = {"os.rename", "shutil.rmtree", "shutil.copytree", "ctypes.dlsym", "os.mkdir", "os.rmdir", "os.remove"}
def watch(event, _):
    global n
    n -= event in deeds
    if event in deeds and n == 0:
        os.kill(os.getpid(), signal.SIGKILL)
place.served(folder)
sys.addaudithook(watch)
place.put(artifact, folder)
"""


@pytest.fixture
def artifacts(tmp_path: Path, tiny_artifact: Artifact) -> tuple[Artifact, Artifact, Artifact]:
    """Three that differ in their version."""
    made = []
    for version in ("1", "2", "3"):
        folder = tmp_path / "made" / version
        shutil.copytree(tiny_artifact.path, folder)
        text = (folder / "model.json").read_text().replace('"version": "1"', f'"version": "{version}"')
        (folder / "model.json").write_text(text)
        made.append(load(folder))
    return made[0], made[1], made[2]


def versions(folder: Path) -> dict[str, str]:
    return {path.name: load(path).manifest.version for path in folder.parent.iterdir() if path.name != "made"}


def test_the_artifact_before_is_kept_beside_the_new_one(
    artifacts: tuple[Artifact, Artifact, Artifact], tmp_path: Path
) -> None:
    folder = tmp_path / "served"
    assert place.served(folder) is None
    assert place.put(artifacts[0], folder) is None
    assert place.put(artifacts[1], folder) == tmp_path / "served.previous"
    assert versions(folder) == {"served": "2", "served.previous": "1"}
    place.put(artifacts[2], folder)
    assert versions(folder) == {"served": "3", "served.previous": "2"}
    place.put(artifacts[2], folder)  # again
    assert versions(folder) == {"served": "3", "served.previous": "2"}


def test_a_link_and_an_empty_folder_may_be_the_place(
    artifacts: tuple[Artifact, Artifact, Artifact], tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert place.served(tmp_path / "link") is None
    for artifact in artifacts[:2]:
        place.put(artifact, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert place.served(tmp_path / "link") == load(tmp_path / "real")
    assert load(tmp_path / "real.previous").manifest.version == "1"


def test_a_folder_with_something_else_is_not_exchanged(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="something else"):
        place.served(tmp_path)


@pytest.mark.parametrize("exchange", ["with", "without"])
def test_killed_at_any_moment_an_artifact_is_served_and_the_next_call_finishes(
    artifacts: tuple[Artifact, Artifact, Artifact], tmp_path: Path, exchange: str
) -> None:
    folder = tmp_path / "here" / "served"
    seen, moment = set(), 0
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        moment += 1
        shutil.rmtree(folder.parent, ignore_errors=True)
        place.put(artifacts[0], folder)
        place.put(artifacts[1], folder)  # so that there is one kept already
        asked = [str(artifacts[2].path), str(folder), str(moment), exchange]
        code = subprocess.run(
            [sys.executable, "-c", KILLED, *asked], env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
        ).returncode
        if exchange == "with":
            seen.add(load(folder).manifest.version)
        served = place.served(folder)
        assert served is not None
        seen.add(served.manifest.version)
        place.put(artifacts[2], folder)
        assert versions(folder) == {"served": "3", "served.previous": "2"}
    assert code == 0
    assert seen == {"2", "3"}
    assert moment > 5


def test_half_a_copy_of_a_killed_program_is_never_kept_as_the_artifact_before(
    tmp_path: Path, artifacts: tuple[Artifact, Artifact, Artifact]
) -> None:
    first, second, _ = artifacts
    folder = tmp_path / "served"
    place.put(first, folder)
    kept = place.put(second, folder)
    (tmp_path / "served.copying").mkdir()
    (tmp_path / "served.copying" / "half").write_text("of a third")
    assert place.put(second, folder) == kept
    assert kept is not None
    assert load(kept).sha256 == first.sha256
