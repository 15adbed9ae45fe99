"""Good files with a few bytes, tags or stretches of them exchanged by chance, always the same."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np

from tests.corpus import codecs
from tests.corpus.cases import ANY_REFUSAL, OK, Case
from tests.imagery import geotiff, reflectance

INTERESTING = (0, 1, 2, 7, 8, 16, 127, 128, 255, 256, 32_767, 65_535, 2**31 - 1, 2**31, 2**32 - 1)


def seeds() -> dict[str, bytes]:
    """Small files of every codec and layout."""
    values = reflectance(side=48)
    masked = np.where(values > 1200, 0, values)
    return {
        **{codec: codecs.good(codec, side=48) for codec in codecs.WRITTEN},
        "plain": geotiff(values, names=["B04", "B03", "B02"]),
        "tiled": geotiff(values, tiled=True, blockxsize=16, blockysize=16, interleave="band", compress="deflate"),
        "big-endian": geotiff(values, ENDIANNESS="BIG", compress="lzw"),
        "BigTIFF": geotiff(values, BIGTIFF="YES", compress="zstd"),
        "scaled": geotiff(masked, nodata=0, scales=(0.0001,) * 3, offsets=(-0.1,) * 3),
        "floats": geotiff(values.astype(np.float32) / 10_000, compress="deflate", predictor=3),
    }


def cases() -> Iterator[Case]:
    """Without end."""
    chance = random.Random(5)
    files = seeds()
    while True:
        for name, data in files.items():
            number = chance.randrange(2**32)
            yield Case(
                "mutated", f"{name}, seed {number}", mutated(data, random.Random(number), files), (OK, *ANY_REFUSAL)
            )


def mutated(data: bytes, chance: random.Random, others: dict[str, bytes]) -> bytes:
    """One to six changes, most of them in the first 512 bytes, where directories lie."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(min(len(out), 512) if chance.random() < 0.8 else len(out))
        width = chance.choice((1, 2, 4, 8))
        match chance.randrange(5):
            case 0:
                out[at] ^= 1 << chance.randrange(8)
            case 1:
                value = chance.choice(INTERESTING) % 256**width
                out[at : at + width] = value.to_bytes(width, chance.choice(("little", "big")))
            case 2:
                out[at : at + width] = chance.randbytes(width)
            case 3:
                other = chance.choice(list(others.values()))
                start = chance.randrange(len(other))
                out[at : at + 64] = other[start : start + 64]
            case 4:
                del out[len(out) - chance.randrange(1, max(2, len(out) // 8)) :]
    return bytes(out)
