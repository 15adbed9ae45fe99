"""What runs the model on a CPU, against what people would otherwise run: uint8 patches in, embeddings out.

    python -m tests.benchmarks.engines [--rounds 9] [--batches 8 1] [--threads 2] [--compile]

ViT-S/16 at 224 px with random weights, the same for all. All take turns in each round. Prints the median of images/s,
and of the ratios to timm's model as it comes (float32), with the lowest and highest round, and the cosine of what was
answered with what that one answers; what share of the products a second that the processor does of one large matrix our
engines do (`tests/benchmarks/peak.py`, measured in the same rounds), and the images/s and the ratio that all of them
would be; then what the gate of `package` measured of int8, here and for the starter.
ONNX Runtime takes part if it, onnx and onnxscript are installed; torch.compile, which takes minutes to compile, if
asked for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from service.model.engine import Choice, Engines, choose
from service.model.openvino_engine import has_bfloat16
from tests.benchmarks.figures import print_row, ratios, spread
from tests.benchmarks.peak import of_processor, products_of
from tests.benchmarks.vit_small import resized, save_vit_small
from tests.conftest import SMALL
from training.card import closeness

Runs = Callable[[NDArray[np.uint8]], Any]
PEER, EXACT, BFLOAT16, INT8 = "timm, float32", "ours, float32", "ours, bfloat16", "ours, int8"
PRECISIONS = {EXACT: "f32", BFLOAT16: "bf16", INT8: "int8"}
ONNX = ("onnxruntime", "onnx", "onnxscript")


def timm_model(artifact: Artifact) -> Any:
    model = timm.create_model(SMALL.timm, num_classes=0).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in artifact.backbone.items()})
    return model


def of_timm(artifact: Artifact, kind: torch.dtype, is_compiled: bool = False) -> Runs:
    """As the model's page shows it, behind the same normalisation."""
    given, model = artifact.manifest.input, timm_model(artifact).to(kind)
    if is_compiled:
        model = torch.compile(model)

    @torch.inference_mode()
    def run(images: NDArray[np.uint8]) -> Any:
        return model(torch.from_numpy(normalise(images, given.mean, given.std)).to(kind)).float().numpy()

    return run


def of_onnx(artifact: Artifact, folder: Path, threads: int) -> dict[str, Runs]:
    """ONNX Runtime in float32, and in int8 with weights quantised and activations as they come."""
    import onnxruntime
    from onnxruntime.quantization import quantize_dynamic

    given, model = artifact.manifest.input, timm_model(artifact)
    example = torch.zeros(2, 3, 224, 224)
    whole, small = folder / "whole.onnx", folder / "int8.onnx"
    dynamic = {"x": {0: torch.export.Dim("batch")}}
    torch.onnx.export(model, (example,), whole, dynamic_shapes=dynamic, dynamo=True, external_data=False, verbose=False)
    quantize_dynamic(whole, small)

    def begin(file: Path) -> Runs:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda images: session.run(None, {name: normalise(images, given.mean, given.std)})[0]

    return {"ONNX Runtime, float32": begin(whole), "ONNX Runtime, int8": begin(small)}


def ours(artifact: Artifact, threads: int) -> dict[str, Runs]:
    """The service's engines, in each precision that this processor has."""
    choices: dict[str, Choice] = {EXACT: "openvino-fp32"}
    if has_bfloat16():
        choices[BFLOAT16] = "openvino-bf16"
    choices[INT8] = "openvino-int8"
    return {name: at_once(choose(artifact, threads, choice)) for name, choice in choices.items()}


def at_once(engines: Engines) -> Runs:
    """A batch as the service runs it: shared, or through the engine for all where it has fewer patches than engines."""
    pool = ThreadPoolExecutor(len(engines.each))

    def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if engines.together and len(images) < len(engines.each):
            return engines.together.run(images).embeddings
        parts = np.array_split(images, len(engines.each))
        outputs = pool.map(lambda engine, part: engine.run(part).embeddings, engines.each, parts)
        return np.concatenate(list(outputs))

    return run


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
        artifact = save_vit_small(folder / "small")
        engines = {
            f"timm, {name}": of_timm(artifact, kind)
            for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        }
        if asked.compile:
            engines["timm, float32, torch.compile"] = of_timm(artifact, torch.float32, is_compiled=True)
            engines["timm, bfloat16, torch.compile"] = of_timm(artifact, torch.bfloat16, is_compiled=True)
        if missing := [needed for needed in ONNX if not find_spec(needed)]:
            print(f"ONNX Runtime takes no part: pip install {' '.join(missing)}")
        else:
            engines |= of_onnx(artifact, folder, asked.threads)
        engines |= ours(artifact, asked.threads)
        peaks = {name: of_processor(PRECISIONS[name], asked.threads) for name in PRECISIONS if name in engines}
        for batch in asked.batches:
            measure(engines, peaks, batch, asked.rounds)
        for title, some in (("this model", artifact), ("the starter", load(STARTER))):
            for entry in some.manifest.engines:
                print(f"int8 of {title}: {closeness(entry)}")


def measure(engines: dict[str, Runs], peaks: dict[str, Callable[[], float]], batch: int, rounds: int) -> None:
    """Prints a line for each engine, and rows for ours."""
    images = np.stack([resized(i) for i in range(batch)])
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    answers = {name: run(images) for name, run in engines.items()}
    best_s: dict[str, list[float]] = {name: [] for name in peaks}  # of this batch, if all were products
    for _ in range(rounds):
        for name, run in engines.items():
            started = time.perf_counter()
            run(images)
            seconds[name].append(time.perf_counter() - started)
            if name in peaks:
                best_s[name].append(batch * products_of(SMALL) / peaks[name]())
    print(
        f"batch {batch}: median images/s; ratio to {PEER}, median (lowest–highest) of {rounds} rounds; cosine with it"
    )
    for name, took in seconds.items():
        cosine = float((unit(answers[name]) * unit(answers[PEER])).sum(1).mean())
        rate = batch / statistics.median(took)
        print(f"  {name:40}{rate:8.1f}   {spread(ratios(seconds[PEER], took)):22}{cosine:.5f}", flush=True)
    rates = {name: batch / statistics.median(took) for name, took in seconds.items()}
    for name, took in best_s.items():
        print(
            f"  {name}: {spread(ratios(took, seconds[name]))} of what the processor does of one large matrix, which "
            f"would be {batch / statistics.median(took):.1f} images/s, {spread(ratios(seconds[PEER], took))} × {PEER}"
        )
    best = max((name for name in engines if not name.startswith("ours")), key=lambda name: rates[name])
    for name, peer in ((BFLOAT16, PEER), (INT8, PEER), (INT8, best)):
        if name in engines:
            print_row(
                "engines",
                f"{rates[name]:.1f} images/s, {name.removeprefix('ours, ')}, batch {batch}",
                f"{peer}, {rates[peer]:.1f}",
                spread(ratios(seconds[peer], seconds[name])),
            )
    for name in (BFLOAT16, INT8):
        if name in peaks and batch > 1:
            print_row(
                "engines",
                f"{rates[name]:.1f} images/s, {name.removeprefix('ours, ')}, batch {batch}",
                f"the processor, were all of it one large matrix, {batch / statistics.median(best_s[name]):.1f}",
                spread(ratios(best_s[name], seconds[name])),
            )


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
