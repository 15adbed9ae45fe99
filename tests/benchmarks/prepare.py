"""`prepare` on a synthetic BigEarthNet v1 tree, against opening each band with rasterio in a loop.

    python -m tests.benchmarks.prepare [--patches 5000] [--rounds 3] [--bands B04,B03,B02]

Both write uint8 pixels to an .npy file; `prepare` also writes labels, dates and footprints. They take turns, each in a
process of its own with the tree in the page cache. Prints patches a second, their ratio, and peak memory (summed over
all processes of a command, looked at every 50 ms; a page that two of them share counts in parts).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

from service.cpus import usable_cpus
from tests.conftest import ROOT

GRIDS_M = {
    "B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20, "B08": 10, "B8A": 20, "B09": 60,
    "B11": 20, "B12": 20,
}  # fmt: skip
PATCH_M = 1200
LABELS = ["Pastures", "Mixed forest", "Non-irrigated arable land", "Sea and ocean"]


def make_tree(folder: Path, patches: int, bands: list[str]) -> None:
    """A folder a patch, an uncompressed uint16 GeoTIFF a band and the labels, as published."""
    chance = np.random.default_rng(0)
    for i in range(patches):
        row, column = divmod(i, 100)
        name = f"S2A_MSIL2A_20170613T101031_{column}_{row}"
        (folder / name).mkdir(parents=True)
        for band in bands:
            side, metres = PATCH_M // GRIDS_M[band], GRIDS_M[band]
            place = Affine(metres, 0, 300_000 + column * PATCH_M, 0, -metres, 5_400_000 - row * PATCH_M)
            with rasterio.open(
                folder / name / f"{name}_{band}.tif", "w", driver="GTiff", width=side, height=side, count=1,
                dtype="uint16", crs="EPSG:32633", transform=place,
            ) as file:  # fmt: skip
                file.write(chance.integers(100, 2600, (1, side, side), np.uint16))
        known = {
            "labels": LABELS[: 1 + i % len(LABELS)],
            "coordinates": {"ulx": 300_000, "uly": 5_400_000, "lrx": 301_200, "lry": 5_398_800},
            "acquisition_date": "2017-06-13 10:10:31",
        }
        (folder / name / f"{name}_labels_metadata.json").write_text(json.dumps(known))


def plain_loop(tree: Path, out: Path, bands: list[str]) -> None:
    """What one writes first: band after band with rasterio, stretched, stacked, into one array."""
    side = PATCH_M // 10
    patches = sorted(tree.iterdir())
    images = np.lib.format.open_memmap(out, "w+", np.uint8, (len(patches), side, side, len(bands)))
    for i, patch in enumerate(patches):
        layers = []
        for band in bands:
            with rasterio.open(patch / f"{patch.name}_{band}.tif") as file:
                values = file.read(1, out_shape=(side, side), resampling=rasterio.enums.Resampling.cubic)
            layers.append(np.clip(values.astype(np.float64) * 255 / 2000, 0, 255).astype(np.uint8))
        images[i] = np.stack(layers, axis=2)
    images.flush()


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds that a command takes and MiB that its processes hold at most."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said, cwd=ROOT)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, sum(map(_memory, _family(process.pid))))
            time.sleep(0.05)
        seconds = time.monotonic() - started
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {said.read().decode()}")
    return seconds, peak


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _memory(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Makes the tree, lets both take turns, and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bands", default="B04,B03,B02", help="or all")
    parser.add_argument("--loop", nargs=2, type=Path, metavar=("TREE", "OUT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    bands = list(GRIDS_M) if asked.bands == "all" else asked.bands.split(",")
    if asked.loop:
        plain_loop(*asked.loop, bands)
        return
    with tempfile.TemporaryDirectory() as scratch:
        tree, store, plain = Path(scratch, "tree"), Path(scratch, "store"), Path(scratch, "plain.npy")
        make_tree(tree, asked.patches, bands)
        print(f"{asked.patches} patches of {len(bands)} bands, {usable_cpus()} cores")
        here = [sys.executable, "-m", "tests.benchmarks.prepare", "--bands", ",".join(bands)]
        prepare = [sys.executable, "training/run.py", "prepare", "bigearthnet-v1", str(tree), "--out", str(store)]
        rates: dict[str, list[float]] = {"rasterio in a loop": [], "prepare": []}
        peaks = dict.fromkeys(rates, 0.0)
        for turn in range(asked.rounds + 1):
            commands = ([*here, "--loop", str(tree), str(plain)], [*prepare, "--bands", ",".join(bands)])
            for name, command in zip(rates, commands, strict=True):
                shutil.rmtree(store, ignore_errors=True)
                seconds, peak = timed(command)
                if turn:  # the first turn fills the page cache
                    rates[name].append(asked.patches / seconds)
                    peaks[name] = max(peaks[name], peak)
    for name, all_rates in rates.items():
        print(
            f"{name:20} {statistics.median(all_rates):7.0f} patches/s "
            f"(from {min(all_rates):.0f} to {max(all_rates):.0f}), peak memory {peaks[name]:.0f} MiB"
        )
    ratios = [ours / theirs for theirs, ours in zip(*rates.values(), strict=True)]
    print(f"{'ratio':20} {statistics.median(ratios):7.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
