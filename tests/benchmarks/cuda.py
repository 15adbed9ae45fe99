"""How fast the torch engine is on a GPU: uint8 patches in the machine's memory in, embeddings there out.

    python -m tests.benchmarks.cuda [--rounds 9] [--largest 1024] [--float32]

ViT-S/16 at 224 px with random weights, and the starter at its own size; batches of 1, 2, 4 …. Prints the median of
images/s with the lowest and highest round, milliseconds a batch, and which share that is of what the GPU's tensor cores
can do in bfloat16, by its data sheet, counting matrix products alone. Without a GPU it says so, in a line.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from service.cpus import usable_cpus
from service.model.artifact import STARTER, Artifact, load
from service.model.manifest import BackboneSpec
from service.model.plain_transformer import depth_of
from service.model.torch_engine import TorchEngine
from tests.conftest import SMALL, save_tiny_artifact

PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}  # operations/s, without sparsity
LEAST_S = 0.2  # of a round


def operations(spec: BackboneSpec, bands: int) -> int:
    """Multiplications and additions of the matrix products for one image, by the transformer's dimensions."""
    tokens, dim = 1 + spec.grid**2, spec.dim
    block = tokens * 12 * dim**2 + 2 * tokens**2 * dim  # qkv 3, proj 1, MLP 8; attention's two products
    return 2 * (depth_of(spec) * block + spec.grid**2 * dim * bands * spec.patch_size**2)


def peak(device: str) -> float | None:
    """Operations/s of a GPU, by its name, if it is known."""
    return next((most for name, most in PEAK.items() if name in device.replace("-", " ").split()), None)


def measure(artifact: Artifact, engine: TorchEngine, largest: int, rounds: int) -> None:
    """Prints a line for each size of batch."""
    spec, bands = artifact.manifest.backbone, len(artifact.manifest.input.bands)
    most, each = peak(torch.cuda.get_device_name()), operations(spec, bands)
    print(f"{spec.timm} of {spec.patch_size} px at {spec.image_size} px, {each / 1e9:.2f} billion operations an image")
    print(f"  {'batch':>5}{'images/s':>10}   {'(lowest–highest)':18}{'ms':>8}{'of peak':>9}")
    for batch in (1 << i for i in range(largest.bit_length())):
        images = np.random.default_rng(0).integers(0, 256, (batch, spec.image_size, spec.image_size, bands), np.uint8)
        engine.run(images)
        began = time.perf_counter()
        engine.run(images)
        times = max(1, round(LEAST_S / (time.perf_counter() - began)))
        speeds = []
        for _ in range(rounds):
            began = time.perf_counter()
            for _ in range(times):
                engine.run(images)  # its answer is back when it returns
            speeds.append(batch * times / (time.perf_counter() - began))
        speed = statistics.median(speeds)
        share = f"{speed * each / most:.1%}" if most else "?"
        spread = f"({min(speeds):.0f}–{max(speeds):.0f})"
        print(f"  {batch:5}{speed:10.0f}   {spread:18}{1e3 * batch / speed:8.2f}{share:>9}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--largest", type=int, default=1024)
    parser.add_argument("--float32", action="store_true", help="without rounding, for comparison")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("there is no GPU here that torch can use: nothing was measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        for artifact in (save_tiny_artifact(Path(folder) / "small", spec=SMALL), load(STARTER)):
            began = time.perf_counter()
            engine = TorchEngine(artifact, usable_cpus(), bfloat16=False if asked.float32 else None)
            print(f"{engine.name}, loaded and recorded in {time.perf_counter() - began:.1f} s")
            measure(artifact, engine, asked.largest, asked.rounds)


if __name__ == "__main__":
    main()
