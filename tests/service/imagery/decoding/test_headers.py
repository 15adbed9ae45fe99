"""While headers are walked, the event loop has rounds for others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import numpy as np

from service.imagery.decoding.headers import SMALL_BYTES, HeaderWalk
from service.imagery.patches import TileFile
from service.imagery.tiff import header
from service.imagery.tiff.limits import Limits
from tests.imagery import RGB, geotiff
from tests.service.imagery.decoding.conftest import GOOD


def rounds_during(tiles: Sequence[Sequence[TileFile]]) -> int:
    """Rounds that the loop makes until the headers of all are known."""

    async def count() -> int:
        walk, rounds = HeaderWalk(RGB.bands), 0
        walks = asyncio.gather(*(walk.of(tile, Limits()) for tile in tiles))
        while not walks.done():
            await asyncio.sleep(0)
            rounds += 1
        assert [len(headers) for headers in walks.result()] == [len(tile) for tile in tiles]
        return rounds

    return asyncio.run(count())


def test_many_tiles_are_not_walked_in_one_round() -> None:
    assert rounds_during([GOOD] * 256) >= 256


def is_walked_by_the_loop(tile: Sequence[TileFile]) -> bool:
    called = []
    sys.setprofile(lambda frame, _event, _argument: called.append(frame.f_code))  # of this thread alone
    try:
        asyncio.run(HeaderWalk(RGB.bands).of(tile, Limits()))
    finally:
        sys.setprofile(None)
    return header.read.__code__ in called


def test_a_large_directory_is_walked_beside_the_loop() -> None:
    rows = np.zeros((1, 200_000, 8), np.uint8)  # each is a strip
    large = [TileFile(geotiff(rows, blockysize=1))]
    assert len(large[0].data) > SMALL_BYTES
    assert is_walked_by_the_loop(GOOD)
    assert not is_walked_by_the_loop(large)
