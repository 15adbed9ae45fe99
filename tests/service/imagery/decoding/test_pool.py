from __future__ import annotations

import asyncio
import os
import signal

import numpy as np
import pytest

from service.imagery.decoding.fork_server import PoolBroken
from service.imagery.decoding.places import QueueFull
from service.imagery.decoding.pool import LARGE_BYTES, NICENESS, DecodeFailure, Tile
from service.imagery.errors import ImageryError
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.imagery.tiff.limits import Limits
from tests.imagery import RGB, geotiff, reflectance
from tests.service.imagery.decoding.conftest import (
    DEADLINE_S,
    GOOD,
    LARGE,
    SCENE,
    SIDE,
    Running,
    computed,
    refusal,
    running,
)

LOOSE = Limits(max_pixels=10**9, max_decoded_bytes=10**10)


def nice_ones(pool: Running) -> list[int]:
    """Those that give way; the others are as this process is."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    more = {process: os.getpriority(os.PRIO_PROCESS, process) - own for process in pool.processes}
    assert set(more.values()) == {0, NICENESS}
    return [process for process in more if more[process]]


def test_a_tile_comes_back_resized_with_all_its_facts(two: Running) -> None:
    tile = two.decode()
    (patch,) = read_tile(GOOD, RGB, ReadOptions())
    assert tile.facts == (patch.facts,)
    assert np.array_equal(tile.images[0], resize(patch.pixels, SIDE))


def test_a_refusal_crosses_the_border_whole(two: Running) -> None:
    float_dn = TileFile(geotiff(reflectance().astype(np.float32)))
    with pytest.raises(ImageryError) as here:
        read_tile([float_dn], RGB, ReadOptions())
    there = refusal(two, [float_dn])
    assert (there.code, there.detail, there.limits) == (here.value.code, here.value.detail, here.value.limits)
    assert refusal(two, [TileFile(geotiff(np.zeros((3, 4, 4), np.uint8)))]).limits == {"smallest_px": 8}


def test_what_a_header_forbids_is_refused_though_every_process_hangs(two: Running) -> None:
    two.signal(signal.SIGSTOP)
    try:
        too_large = refusal(two, list(GOOD), max_pixels=100)
        assert (too_large.code, too_large.limits) == ("image_too_large", {"max_pixels": 100})
        assert refusal(two, [TileFile(b"")]).code == "empty_body"
    finally:
        two.signal(signal.SIGCONT)


def test_band_files_that_the_model_does_not_read_may_be_empty(two: Running) -> None:
    bands = [TileFile(geotiff(reflectance(bands=1)), band) for band in ("B02", "B03", "B04")]
    unread = TileFile(b"", "B8A")
    assert np.array_equal(two.decode([*bands, unread]).images, two.decode(bands).images)
    assert [header.pixels for header in two.run(two.pool.headers([*bands, unread], Limits()))] == [120 * 120] * 3


def test_whoever_asks_or_waits_when_the_pool_is_closed_is_told() -> None:
    async def close_amid_work() -> list[object]:
        asked = [asyncio.create_task(pool.ask(SCENE)) for _ in range(4)]
        await asyncio.sleep(0.05)  # one is sent to a process, three wait
        await pool.pool.close()
        asked.append(asyncio.create_task(pool.ask()))
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)

    with running(1) as pool:
        pool.signal(signal.SIGSTOP)  # or one may be answered before the pool is closed
        assert [type(answer) for answer in pool.run(close_amid_work())] == [PoolBroken] * 5
        assert pool.processes == []


def test_a_caller_that_leaves_costs_no_process_and_gives_its_place_back(two: Running) -> None:
    async def leave() -> None:
        asked = [asyncio.create_task(two.ask()) for _ in range(8)]
        await asyncio.sleep(0.05)  # two are sent to a process, six wait
        for one in asked:
            one.cancel()
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(answer) for answer in answers} == {asyncio.CancelledError}

    before = two.processes
    two.signal(signal.SIGSTOP)
    two.run(leave())
    two.signal(signal.SIGCONT)
    assert np.array_equal(two.decode().images, two.decode().images)
    assert two.processes == before


def test_one_tile_more_than_may_wait_is_refused_until_one_leaves(one: Running) -> None:
    async def crowd() -> None:
        def ask() -> asyncio.Task[Tile]:
            return asyncio.create_task(one.ask())

        first, second = ask(), ask()
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await ask()
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        third = ask()
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await ask()
        one.signal(signal.SIGCONT)
        assert [len(tile.facts) for tile in await asyncio.gather(first, third)] == [1, 1]

    before = one.processes
    one.signal(signal.SIGSTOP)
    one.run(crowd())
    assert one.processes == before


def test_large_tiles_leave_a_place_to_small_ones(two: Running) -> None:
    done: list[str] = []

    async def decode(name: str, files: list[TileFile]) -> None:
        await two.ask(files)
        done.append(name)

    async def all_at_once() -> None:
        await asyncio.gather(*(decode("large", LARGE) for _ in range(3)), decode("small", list(GOOD)))

    assert two.run(two.pool.headers(LARGE, Limits()))[0].decoded_bytes > LARGE_BYTES
    two.run(all_at_once())
    assert "small" in done[:2]  # or it would have waited until two large ones are done


def test_what_decodes_large_tiles_gives_way_to_the_others(two: Running) -> None:
    (nice,) = nice_ones(two)
    before = computed(nice)
    two.decode(LARGE)
    assert computed(nice) > before + 2


def test_tiles_that_give_way_leave_a_place_to_others(two: Running) -> None:
    (nice,) = nice_ones(two)

    async def all_at_once() -> None:
        many = [asyncio.create_task(two.ask(gives_way=True)) for _ in range(20)]
        await two.ask()
        assert not any(task.done() for task in many)
        os.kill(nice, signal.SIGCONT)
        await asyncio.gather(*many)

    os.kill(nice, signal.SIGSTOP)
    two.run(all_at_once())


def test_a_tile_that_gives_way_may_wait_for_the_processor_beyond_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go_on_late() -> Tile:
        asked = asyncio.create_task(pool.ask(gives_way=True))
        await asyncio.wait({asked}, timeout=1.1)
        pool.signal(signal.SIGCONT)
        return await asked

    monkeypatch.setattr("service.imagery.decoding.pool.PATIENCE", DEADLINE_S)
    with running(1, timeout_s=1) as pool:
        pool.signal(signal.SIGSTOP)
        assert len(pool.run(go_on_late()).facts) == 1


def test_a_process_that_ends_beyond_its_tiles_time_was_ended_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    async def end_late() -> None:
        (nice,) = nice_ones(pool)
        before = computed(nice)
        asked = asyncio.create_task(pool.ask(LARGE))
        while computed(nice) <= before + 2:  # 0.02 s
            await asyncio.sleep(0.001)
        os.kill(nice, signal.SIGXCPU)
        await asked

    monkeypatch.setattr("service.imagery.decoding.pool.PATIENCE", 100 * DEADLINE_S)
    with running(1, timeout_s=0.01) as pool, pytest.raises(ImageryError) as error:
        pool.run(end_late())
    assert error.value.code == "decode_timeout"


def test_large_tiles_are_decoded_by_a_single_process_too(one: Running) -> None:
    assert len(one.decode(LARGE).facts) == 11 * 11


def test_a_fault_of_ours_is_told_with_its_source_and_the_process_lives(two: Running) -> None:
    before = two.processes
    with pytest.raises(DecodeFailure, match=r"Traceback(.|\n)*patches = read_tile\("):
        two.decode(GOOD, ReadOptions(scale="much"))
    assert len(two.decode().facts) == 1
    assert two.processes == before


def test_a_tile_that_needs_too_much_memory_is_refused_and_the_process_lives(two: Running) -> None:
    before = two.processes
    large = TileFile(geotiff(np.zeros((3, 6000, 6000), np.float32), compress="deflate"))
    with pytest.raises(ImageryError) as error:
        two.decode([large], ReadOptions(limits=LOOSE))
    assert error.value.code == "image_too_large"
    assert two.processes == before


def test_processes_decode_side_by_side_and_answers_do_not_get_mixed_up(two: Running) -> None:
    async def many() -> None:
        tiles = [[TileFile(geotiff(np.full((3, 16, 16), i, np.uint8)))] for i in range(50)]
        done = await asyncio.gather(*(two.ask(tile) for tile in tiles))
        assert [int(tile.images.max()) for tile in done] == list(range(50))

    two.run(many())
