"""What runs the model on a CPU, against what people would otherwise run: uint8 patches in, embeddings out.

    python -m tests.benchmarks.engines [--rounds 9] [--batches 8 1] [--threads 2] [--compile]

ViT-S/16 at 224 px with random weights. All take turns in each round. Prints the median of images/s, and of the ratios
to timm's model as it comes (float32), with the lowest and highest round. ONNX Runtime takes part if it, onnx and
onnxscript are installed; torch.compile, which takes minutes to compile, if asked for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from service.cpus import usable_cpus
from service.imagery.resize import normalise
from service.model.artifact import STARTER, Artifact, load
from service.model.openvino_engine import OpenVinoEngine, has_bfloat16
from service.model.openvino_graph import probed_graph
from tests.conftest import SMALL, save_tiny_artifact
from training.card import closeness

Runs = Callable[[NDArray[np.uint8]], Any]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PEER = "timm, float32"


def of_timm(kind: torch.dtype, is_compiled: bool = False) -> Runs:
    """As the model's page shows it, behind the same normalisation."""
    model: Any = timm.create_model(SMALL.timm, num_classes=0).eval().to(kind)
    if is_compiled:
        model = torch.compile(model)

    @torch.inference_mode()
    def run(images: NDArray[np.uint8]) -> Any:
        return model(torch.from_numpy(normalise(images, MEAN, STD)).to(kind)).float().numpy()

    return run


def of_onnx(folder: Path, threads: int) -> dict[str, Runs]:
    """ONNX Runtime in float32, and in int8 with weights quantised and activations as they come."""
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    model = timm.create_model(SMALL.timm, num_classes=0).eval()
    example = torch.zeros(2, 3, 224, 224)
    whole, small = folder / "whole.onnx", folder / "int8.onnx"
    dynamic = {"x": {0: torch.export.Dim("batch")}}
    torch.onnx.export(model, (example,), whole, dynamic_shapes=dynamic, dynamo=True, external_data=False)
    quantize_dynamic(whole, small)

    def begin(file: Path) -> Runs:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: normalise(images, MEAN, STD)})

    return {"ONNX Runtime, float32": begin(whole), "ONNX Runtime, int8": begin(small)}


def some_ranges(artifact: Artifact) -> dict[str, NDArray[np.float32]]:
    """For speed any will do."""
    _, names = probed_graph(artifact)
    ranges = {f"{name}.range": np.array([-6, 6], np.float32) for name in names}
    return ranges | {
        f"{name}.smoothing": np.ones(artifact.backbone[f"{name}.weight"].shape[1], np.float32) for name in names
    }


def ours(artifact: Artifact, threads: int) -> dict[str, Runs]:
    """The service's engine, in each precision that this processor has."""
    exact = OpenVinoEngine(artifact, threads)
    engines: dict[str, Runs] = {"ours, float32": exact.run}
    if has_bfloat16():
        rounded = OpenVinoEngine(artifact, threads, bfloat16=True)
        engines["ours, bfloat16"] = rounded.run
        engines["ours, bfloat16, with token embeddings"] = lambda images: rounded.run(images, tokens=True)
    small = OpenVinoEngine(artifact, threads, bfloat16=has_bfloat16(), ranges=some_ranges(artifact))
    return engines | {"ours, int8": small.run}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 1])
    parser.add_argument("--threads", type=int, default=usable_cpus())
    parser.add_argument("--compile", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engines: dict[str, Runs] = {PEER: of_timm(torch.float32), "timm, bfloat16": of_timm(torch.bfloat16)}
        if asked.compile:
            engines["timm, bfloat16, torch.compile"] = of_timm(torch.bfloat16, is_compiled=True)
        if all(find_spec(needed) for needed in ("onnxruntime", "onnx", "onnxscript")):
            engines |= of_onnx(folder, asked.threads)
        engines |= ours(save_tiny_artifact(folder / "small", spec=SMALL), asked.threads)
        for batch in asked.batches:
            measure(engines, batch, asked.rounds)
    for entry in load(STARTER).manifest.engines:
        print(f"int8 of the starter: {closeness(entry)}")


def measure(engines: dict[str, Runs], batch: int, rounds: int) -> None:
    """Prints a line for each engine."""
    images = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for run in engines.values():
        run(images)
    for _ in range(rounds):
        for name, run in engines.items():
            started = time.perf_counter()
            run(images)
            seconds[name].append(time.perf_counter() - started)
    print(f"batch {batch}: median images/s; ratio to {PEER}, median (lowest–highest) of {rounds} rounds")
    for name, took in seconds.items():
        ratios = [peer / own for peer, own in zip(seconds[PEER], took, strict=True)]
        spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        print(f"  {name:40}{batch / statistics.median(took):8.1f}   {spread}", flush=True)


if __name__ == "__main__":
    main()
