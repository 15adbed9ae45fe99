"""A patch through the decode processes against the same read in this process, and the walk over its header alone.

    python -m tests.benchmarks.decode [--rounds 1000] [--size 224]

120 × 120 pixels of three uint16 bands, read, stretched, resized and placed on Earth. All take turns; a machine that
does something else meanwhile shows it, for a patch then waits for two processes to be given a processor.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

from service.imagery.decoding.pool import DecodePool
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from tests.imagery import RGB, geotiff, reflectance

WARMING_ROUNDS = 50


async def measure(rounds: int, size: int) -> dict[str, list[float]]:
    """Seconds that each took, by what was measured."""
    files, options = [TileFile(geotiff(reflectance()))], ReadOptions()
    pool = DecodePool(RGB, size, workers=1, timeout_s=10, memory_mb=1500)
    await pool.start()
    took: dict[str, list[float]] = {"in this process": [], "through the pool": [], "header alone": []}
    try:
        for _ in range(WARMING_ROUNDS + rounds):
            times = [time.perf_counter()]
            for patch in read_tile(files, RGB, options):
                resize(patch.pixels, size)
            times.append(time.perf_counter())
            await pool.decode(files, options, await pool.headers(files, options.limits))
            times.append(time.perf_counter())
            await pool.headers(files, options.limits)
            times.append(time.perf_counter())
            for name, before, after in zip(took, times, times[1:], strict=False):
                took[name].append(after - before)
    finally:
        await pool.close()
    return {name: seconds[WARMING_ROUNDS:] for name, seconds in took.items()}


def main() -> None:
    """Prints medians and the ratio of the pool's to the one without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--size", type=int, default=224, help="side of the model's input, pixels")
    asked = parser.parse_args()
    took = asyncio.run(measure(asked.rounds, asked.size))
    for name, seconds in took.items():
        low, median, high = statistics.quantiles(seconds, n=20)[0], statistics.median(seconds), max(seconds)
        print(f"{name}: median {median * 1e3:.3f} ms, 5th percentile {low * 1e3:.3f} ms, longest {high * 1e3:.1f} ms")
    ratio = statistics.median(took["through the pool"]) / statistics.median(took["in this process"])
    print(f"through the pool / in this process: {ratio:.2f}")


if __name__ == "__main__":
    main()
