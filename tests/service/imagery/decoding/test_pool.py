from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from service.imagery.decoding.pool import DecodeFailure, DecodePool
from service.imagery.decoding.process import PoolBroken
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.imagery.tiff.limits import Limits
from tests.imagery import geotiff, reflectance

SPEC = InputSpec(("B04", "B03", "B02"), patch_px=120, gsd_m=10, divisor=2000)
LOOSE = Limits(max_pixels=10**9, max_decoded_bytes=10**10)
GOOD = [TileFile(geotiff(reflectance()))]


def with_pool(
    use: Callable[[DecodePool], Awaitable[None]], workers: int = 1, timeout_s: float = 10, memory_mb: int = 1500
) -> None:
    async def run() -> None:
        pool = DecodePool(SPEC, 64, workers=workers, timeout_s=timeout_s, memory_mb=memory_mb)
        await pool.start()
        try:
            await use(pool)
        finally:
            await pool.close()

    asyncio.run(run())


def children() -> list[int]:
    """Process ids of the decode processes of this test."""
    mine = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in mine if b"service.imagery.decoding.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_tile_comes_back_resized_with_all_its_facts() -> None:
    async def use(pool: DecodePool) -> None:
        tile = await pool.decode(GOOD, ReadOptions())
        (patch,) = read_tile(GOOD, SPEC, ReadOptions())
        assert tile.facts == (patch.facts,)
        assert np.array_equal(tile.images[0], resize(patch.pixels, 64))

    with_pool(use)


def test_a_refusal_crosses_the_border_whole() -> None:
    async def use(pool: DecodePool) -> None:
        with pytest.raises(ImageryError) as error:
            await pool.decode(GOOD, ReadOptions(limits=Limits(max_pixels=100)))
        assert error.value.code == "image_too_large"
        assert error.value.limits == {"max_pixels": 100}

    with_pool(use)


def test_a_process_that_hangs_is_killed_and_replaced() -> None:
    async def use(pool: DecodePool) -> None:
        (hung,) = children()
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(ImageryError) as error:
            await pool.decode(GOOD, ReadOptions())
        assert error.value.code == "decode_timeout"
        assert len((await pool.decode(GOOD, ReadOptions())).facts) == 1
        assert hung not in children()

    with_pool(use, timeout_s=1)


def test_a_process_that_dies_over_a_tile_fails_that_tile_alone() -> None:
    async def use(pool: DecodePool) -> None:
        (busy,) = children()
        os.kill(busy, signal.SIGSTOP)
        asked = asyncio.ensure_future(pool.decode(GOOD, ReadOptions()))
        await asyncio.sleep(0.1)
        os.kill(busy, signal.SIGKILL)
        with pytest.raises(ImageryError) as error:
            await asked
        assert error.value.code == "decode_crashed"
        assert len((await pool.decode(GOOD, ReadOptions())).facts) == 1

    with_pool(use)


def test_a_process_that_died_idle_costs_no_tile() -> None:
    async def use(pool: DecodePool) -> None:
        (idle,) = children()
        os.kill(idle, signal.SIGKILL)
        await asyncio.sleep(0.2)
        assert len((await pool.decode(GOOD, ReadOptions())).facts) == 1

    with_pool(use)


@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python"])
def test_whoever_waits_for_a_process_that_cannot_be_replaced_is_told(
    monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    async def use(pool: DecodePool) -> None:
        monkeypatch.setattr("sys.executable", python)
        os.kill(children()[0], signal.SIGKILL)
        await asyncio.sleep(0.2)
        asked = [asyncio.create_task(pool.decode(GOOD, ReadOptions())) for _ in range(3)]
        answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 10)
        assert [type(answer) for answer in answers] == [PoolBroken] * 3
        with pytest.raises(PoolBroken):
            pool.raise_if_broken()

    with_pool(use)


def test_a_fault_of_ours_is_told_with_its_traceback_and_the_process_lives() -> None:
    async def use(pool: DecodePool) -> None:
        (before,) = children()
        with pytest.raises(DecodeFailure, match="Traceback"):
            await pool.decode([TileFile(b"II*\0", "B04")], ReadOptions(bands=5))
        assert len((await pool.decode(GOOD, ReadOptions())).facts) == 1
        assert children() == [before]

    with_pool(use)


def test_a_tile_that_needs_too_much_memory_is_refused_and_the_process_lives() -> None:
    async def use(pool: DecodePool) -> None:
        (before,) = children()
        large = np.zeros((3, 6000, 6000), np.float32)
        with pytest.raises(ImageryError) as error:
            await pool.decode([TileFile(geotiff(large, compress="deflate"))], ReadOptions(limits=LOOSE))
        assert error.value.code == "image_too_large"
        assert children() == [before]

    with_pool(use, memory_mb=600)


def test_a_decode_process_holds_no_torch_and_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")

    async def use(pool: DecodePool) -> None:
        await pool.decode(GOOD, ReadOptions())
        (worker,) = children()
        assert b"secret" not in Path(f"/proc/{worker}/environ").read_bytes()
        assert "libtorch" not in Path(f"/proc/{worker}/maps").read_text()

    with_pool(use)


def test_workers_decode_side_by_side_and_answers_do_not_get_mixed_up() -> None:
    async def use(pool: DecodePool) -> None:
        tiles = [[TileFile(geotiff(np.full((3, 16, 16), i, np.uint8)))] for i in range(50)]
        done = await asyncio.gather(*(pool.decode(tile, ReadOptions()) for tile in tiles))
        assert [int(tile.images.max()) for tile in done] == list(range(50))

    with_pool(use, workers=2)
