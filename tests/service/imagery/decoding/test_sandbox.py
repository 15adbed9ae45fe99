"""After it warmed up, a decode process opens nothing, and misses nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.imagery.errors import ImageryError
from service.imagery.patches import PatchFacts, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from tests.conftest import ROOT
from tests.corpus.codecs import jpeg_page, many_scans
from tests.corpus.tiff import tiff
from tests.imagery import RGB
from tests.service.imagery.decoding.conftest import DEADLINE_S, SIDE, Running
from tests.service.imagery.decoding.variety import BAD, CODECS, KINDS, PLACES

TILES = CODECS | PLACES | KINDS | BAD
# Whatever gives a process a descriptor; those with a question mark are not on every architecture.
OPENING = (
    "?open,openat,openat2,?creat,open_by_handle_at,memfd_create,dup,?dup2,dup3,?pipe,pipe2,?eventfd,eventfd2,"
    "?epoll_create,epoll_create1,?inotify_init,inotify_init1,?signalfd,signalfd4,timerfd_create,pidfd_open,"
    "socket,socketpair,accept,accept4,connect,io_uring_setup,userfaultfd,perf_event_open,execve,execveat"
)

Outcome = tuple[list[bytes], tuple[PatchFacts, ...]] | tuple[str, str, dict[str, object]]


def with_limits(pool: Running, files: Sequence[TileFile]) -> Outcome:
    try:
        tile = pool.decode(files)
    except ImageryError as error:
        return error.code, error.detail, error.limits
    return [image.tobytes() for image in tile.images], tile.facts


def without(files: Sequence[TileFile]) -> Outcome:
    try:
        patches = read_tile(files, RGB, ReadOptions())
    except ImageryError as error:
        return error.code, error.detail, error.limits
    return [resize(patch.pixels, SIDE).tobytes() for patch in patches], tuple(patch.facts for patch in patches)


def limits_of(process: int) -> dict[str, tuple[str, str]]:
    """Soft and hard, by name."""
    lines = Path(f"/proc/{process}/limits").read_text().splitlines()[1:]
    return {line[:26].strip(): (line[26:47].strip(), line[47:68].strip()) for line in lines}


def test_the_limits_are_in_force_in_every_process(two: Running) -> None:
    two.settle()
    for process in two.processes:
        limits = limits_of(process)
        assert limits["Max open files"] == ("0", "0")
        assert limits["Max file size"] == ("0", "0")
        assert limits["Max core file size"] == ("0", "0")
        assert limits["Max address space"] == (str(600 * 2**20),) * 2


def test_no_process_holds_what_another_reads_or_writes_nor_the_line_to_the_fork_server(two: Running) -> None:
    two.settle()
    held = [{str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir()} for process in two.processes]
    lines = [{file for file in files if file.startswith(("pipe:", "socket:"))} for files in held]
    assert [len(of_one) for of_one in lines] == [2] * len(two.processes)
    assert len(set.union(*lines)) == 2 * len(two.processes)


def test_a_process_may_compute_until_its_tiles_deadline_and_a_margin(two: Running) -> None:
    two.decode()
    left = []
    for process in two.processes:
        allowed, times = limits_of(process)["Max cpu time"][0], Path(f"/proc/{process}/stat").read_text()
        used = sum(map(int, times.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
        if allowed != "unlimited":
            left.append(int(allowed) - used)
    assert any(DEADLINE_S < seconds <= DEADLINE_S + 2 for seconds in left)  # but for what the tile took


def test_a_process_whose_parent_cannot_end_it_is_ended_by_the_kernel() -> None:
    endless = "from service.imagery.decoding import sandbox; sandbox.allow_cpu(0)\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", endless], cwd=ROOT, timeout=60)
    assert -done.returncode in (signal.SIGXCPU, signal.SIGKILL)


def test_a_process_has_none_of_the_variables_and_none_of_the_libraries_of_the_service(two: Running) -> None:
    for process in two.processes:
        said = Path(f"/proc/{process}/environ").read_text().split("\0")
        assert {variable.partition("=")[0] for variable in said} - {""} == {
            "PATH",
            "PYTHONPATH",
            "OPENBLAS_NUM_THREADS",
            "LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER",
        }
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()


def test_a_jpeg_of_more_scans_than_any_encoder_writes_is_not_decoded(two: Running) -> None:
    usual, twice_more = (TileFile(tiff(jpeg_page(128, many_scans(128, scans)))) for scans in (0, 20))
    assert two.decode([usual]).images.shape == (1, SIDE, SIDE, 3)
    with pytest.raises(ImageryError) as refused:
        two.decode([twice_more])
    assert refused.value.code == "corrupt"


@pytest.mark.parametrize("kind", TILES)
def test_a_tile_is_read_the_same_with_limits_and_without(two: Running, kind: str) -> None:
    assert with_limits(two, TILES[kind]) == without(TILES[kind])


def test_no_tile_makes_a_process_open_anything(two: Running, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    two.kill()  # for processes that know only what they warmed up with
    two.settle()
    log = tmp_path / "trace"
    watched = [f"--attach={process}" for process in two.processes]
    command = ["strace", "-f", "-o", str(log), "-e", f"trace={OPENING},write", "-s", "0", *watched]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as watching:
        for _ in watched:
            said = watching.stderr.readline()
            if "not permitted" in said:
                pytest.skip(f"strace may not watch here: {said}")
            assert "attached" in said
        read = sum(not isinstance(with_limits(two, files)[0], str) for files in TILES.values())
        watching.terminate()
    seen = log.read_text()
    answers = re.findall(r"write\(.*= \d+$", seen, re.MULTILINE)
    assert len(answers) >= read > len(CODECS) + len(PLACES)
    assert "EMFILE" in seen  # PROJ, for one, looked for a grid of another datum
    opened = [line for line in seen.splitlines() if "write(" not in line and re.search(r" = \d+", line)]
    assert opened == []
