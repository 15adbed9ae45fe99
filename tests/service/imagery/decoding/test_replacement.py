"""A process that hangs or dies, and the one that takes its place."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.imagery.decoding.fork_server import PoolBroken
from service.imagery.errors import ImageryError
from tests.service.imagery.decoding.conftest import (
    GOOD,
    LARGE,
    SCENE,
    Running,
    computed,
    parent_of,
    refusal,
    running,
)
from tests.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


@pytest.fixture
def adopts_orphans() -> Iterator[None]:
    """This process gets the children of those of its descendants that end, as the first one of a container does."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_a_process_that_hangs_is_killed_and_the_spare_takes_over_while_another_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    never_ready = tmp_path / "python"
    never_ready.write_text("#!/bin/sh\nexec sleep 60\n")
    never_ready.chmod(0o755)
    with running(1, timeout_s=2) as pool:
        before = pool.processes
        monkeypatch.setattr("sys.executable", str(never_ready))
        pool.kill_server()
        pool.signal(signal.SIGSTOP)
        hung = refusal(pool, list(GOOD))
        assert (hung.code, hung.limits) == ("decode_timeout", {"decode_timeout_s": 2})
        pool.signal(signal.SIGCONT)
        assert len(pool.decode().facts) == 1
        assert set(pool.processes) <= set(before)


def test_kill_9_of_a_process_under_load_fails_the_tile_that_it_held_alone(
    two: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async def kill_one() -> None:
        before = {process: computed(process) for process in two.processes}
        held = asyncio.create_task(two.ask(LARGE))
        while not (busy := [process for process in before if computed(process) > before[process] + 2]):
            await asyncio.sleep(0.001)
        os.kill(busy[0], signal.SIGSTOP)
        others = [asyncio.create_task(two.ask(SCENE)) for _ in range(20)]
        await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        os.kill(busy[0], signal.SIGKILL)
        with pytest.raises(ImageryError) as error:
            await held
        assert error.value.code == "decode_crashed"
        assert {len(tile.facts) for tile in await asyncio.gather(*others)} == {25}

    two.run(kill_one())
    two.settle()
    assert caplog.messages == []  # as asyncio writes if somebody else collects a child


def test_a_process_that_died_idle_costs_no_tile_and_is_replaced(two: Running) -> None:
    before = two.processes
    two.kill()
    assert len(two.decode().facts) == 1
    two.settle()
    assert not set(before) & set(two.processes)


@pytest.mark.usefixtures("adopts_orphans")
def test_where_it_is_the_first_process_none_is_left_that_nobody_collects() -> None:
    with running(1) as pool:
        before = pool.processes
        pool.kill_server()
        wait_until(lambda: all(parent_of(process) == os.getpid() for process in before))
        pool.kill()
        pool.settle()
        assert not [process for process in before if Path(f"/proc/{process}").exists()]


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python", "no\0path"])
def test_whoever_waits_for_a_process_that_cannot_be_replaced_is_told(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    async def ask() -> list[object]:
        asked = [asyncio.create_task(pool.ask()) for _ in range(3)]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)

    with running(1) as pool:
        monkeypatch.setattr("sys.executable", python)
        monkeypatch.setattr("service.imagery.decoding.processes.PAUSES_S", (0.1,))
        pool.kill_server()
        pool.signal(signal.SIGKILL)
        assert [type(answer) for answer in pool.run(ask())] == [PoolBroken] * 3
        with pytest.raises(PoolBroken):
            pool.pool.raise_if_broken()


def test_a_process_that_ends_while_descriptors_are_short_is_replaced_later(caplog: pytest.LogCaptureFixture) -> None:
    async def replaced() -> None:
        with ExitStack() as held:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            os.kill(pool.processes[0], signal.SIGKILL)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # fewer than are open
            while not caplog.messages:
                pool.pool.raise_if_broken()
                await asyncio.sleep(0.001)
        assert "Too many open files; trying again" in caplog.text

    with running(1) as pool:
        pool.run(replaced())
        pool.settle()
        pool.pool.raise_if_broken()


def test_a_process_that_could_not_be_replaced_at_once_is_replaced_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def replaced() -> None:
        pool.kill_server()
        os.kill(pool.processes[0], signal.SIGKILL)
        while not caplog.messages:
            assert len((await pool.ask()).facts) == 1
        monkeypatch.undo()

    with running(1) as pool:
        monkeypatch.setattr("sys.executable", "/nowhere/python")
        pool.run(replaced())
        pool.settle()
        pool.pool.raise_if_broken()
