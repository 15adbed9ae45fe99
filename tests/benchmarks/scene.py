"""`python -m service embed` on a whole Sentinel-2 tile, against the engine alone.

    python -m tests.benchmarks.scene [--side 10980] [--kill]

A made-up scene in a temporary folder: three bands of 16 bits, fractal noise with the histogram of fields, tiled and
compressed as usual; up to a side of 4000 it is a tile that is read whole. Prints images/s and km²/s of the command; the
engine's own rate, measured in a process of its own before and after, each thread on batches of its own; how much longer
the command took than its patches take that engine, by the clock and by the time of processors, which others on the
machine do not change as much; and peak memory, of all processes together (proportional set size, looked at four times a
second). With --kill the command is first killed (SIGKILL) when half is done: then the numbers are those of the other
half.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from service.cpus import usable_cpus
from service.model import artifact, engine
from tests.benchmarks.bare import at_work
from tests.conftest import ROOT

BLOCK = 512
LIKE_FIELDS = (450, 350)  # mean and standard deviation, DN


def fractal(side: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """side × side with a spectrum of 1/f, mean 0, standard deviation 1: as real ground, smooth and rough at once."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    phases = np.exp(2j * np.pi * chance.random(frequency.shape))
    field = np.fft.irfft2(phases / frequency**1.2, (side, side))
    return ((field - field.mean()) / field.std()).astype(np.float32)


def make_scene(file: Path, side: int) -> None:
    """Blocks of one fractal square, each turned and shifted in its own way, with noise of its own on top."""
    chance = np.random.default_rng(0)
    ground = fractal(2048, chance)
    shape = {"width": side, "height": side, "count": 3, "dtype": "uint16"}
    layout = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "predictor": 2}
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 399960, 0, -10, 5400000)}
    with rasterio.open(file, "w", driver="GTiff", **shape, **layout, **place, num_threads=usable_cpus()) as scene:
        for i, name in enumerate(("B04", "B03", "B02"), start=1):
            scene.set_band_description(i, name)
        for row in range(0, side, 4 * BLOCK):
            for column in range(0, side, 4 * BLOCK):
                height, width = min(4 * BLOCK, side - row), min(4 * BLOCK, side - column)
                here = np.roll(np.rot90(ground, chance.integers(4)), chance.integers(2048, size=2), (0, 1))
                mean, deviation = LIKE_FIELDS
                bands = [
                    mean + shift + deviation * here[:height, :width] + chance.normal(0, 20, (height, width))
                    for shift in (150, 100, 0)
                ]
                values = np.clip(np.stack(bands), 1, 12_000).astype(np.uint16)
                scene.write(values, window=Window(column, row, width, height))


def bare_rate(seconds: float) -> tuple[float, float]:
    """Images a second, and processor seconds an image, of the engine alone in batches as the service makes them."""
    loaded = artifact.load(artifact.STARTER)
    engines = engine.choose(loaded, usable_cpus())
    side = loaded.manifest.backbone.image_size
    images = np.random.default_rng(0).integers(0, 255, (engines.each[0].largest_batch, side, side, 3), np.uint8)
    rate, of_cpu = at_work(engines, images, seconds)
    return rate, 1 / of_cpu


def _bare_in_its_own_process(seconds: float) -> tuple[float, float]:
    code = f"from tests.benchmarks.scene import bare_rate; print(*bare_rate({seconds}))"
    rate, busy = map(float, subprocess.check_output([sys.executable, "-c", code], cwd=ROOT).split())
    return rate, busy


def _tree(pid: int) -> list[int]:
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(one for child in children for one in _tree(int(child)))]
    return []


def _memory_mb(pid: int) -> float:
    """Proportional set size; 0 once it has ended."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


def _busy(pid: int) -> float:
    """Processor seconds so far."""
    with suppress(OSError):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def embed(scene: Path, to: Path, kill_when: int | None = None) -> tuple[float, float, float]:
    """(seconds, processor seconds, peak MB) of the command; killed once its parts hold `kill_when` bytes.

    Decode processes are nobody's children when they end, so all are looked at while they live.
    """
    command = [sys.executable, "-m", "service", "embed", str(scene), "--out", str(to)]
    started, peak, busy = time.perf_counter(), 0.0, dict[int, float]()
    parts = to.with_name(to.name + ".parts")
    with subprocess.Popen(command, cwd=ROOT, env=os.environ) as process:
        while process.poll() is None:
            pids = _tree(process.pid)
            peak = max(peak, sum(map(_memory_mb, pids)))
            busy |= {pid: max(_busy(pid), busy.get(pid, 0)) for pid in pids}
            if kill_when and sum(file.stat().st_size for file in parts.glob("*.arrow")) >= kill_when:
                process.kill()
            time.sleep(0.25)
    return time.perf_counter() - started, sum(busy.values()), peak


def rows_in(parts: Path) -> Iterator[pa.RecordBatch]:
    """Batches of rows that were written before a kill."""
    for file in sorted(parts.glob("*.arrow")):
        with file.open("rb") as opened, suppress(pa.ArrowInvalid, OSError):
            yield from pa.ipc.open_stream(opened)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=10_980)
    parser.add_argument("--kill", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scene, to = Path(folder, "scene.tif"), Path(folder, "embeddings.parquet")
        make_scene(scene, asked.side)
        print(f"scene of {asked.side} × {asked.side} × 3, {scene.stat().st_size / 1e6:.0f} MB", flush=True)
        already = 0
        if asked.kill:
            _, _, peak = embed(scene, to, kill_when=(asked.side // 120) ** 2 * 1000)
            already = sum(map(len, rows_in(to.with_name(to.name + ".parts"))))
            print(f"killed after {already} patches; peak of all processes {peak:.0f} MB", flush=True)
        before = _bare_in_its_own_process(20)
        seconds, busy, peak = embed(scene, to)
        bare, busy_alone = np.mean([before, _bare_in_its_own_process(20)], axis=0)
        patches = pq.read_metadata(to).num_rows - already
        ground_km2 = asked.side**2 * 1e-4 * patches / (patches + already)
        print(f"engine alone: {bare:.1f} images/s, {1e3 * busy_alone:.1f} ms of processors an image")
        print(
            f"{patches} patches in {seconds:.1f} s: {patches / seconds:.1f} images/s, {ground_km2 / seconds:.1f} km²/s"
        )
        print(f"peak of all processes {peak:.0f} MB")
        print(f"{seconds * bare / patches:.3f} of the time that the engine alone would take for them")
        print(f"{busy / busy_alone / patches:.3f} of its processors' time")


if __name__ == "__main__":
    main()
