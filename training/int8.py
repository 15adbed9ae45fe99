"""int8 for the CPU engine: calibrated on patches of a store, and kept only if it answers as float32 does.

Ranges are the extremes over the calibration patches, after smoothing (Xiao et al. 2023, SmoothQuant): channels whose
inputs are large hand some of that to their weights, which have a scale of their own for each output.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from service.cpus import usable_cpus
from service.imagery.resize import resize
from service.model.artifact import Artifact, Tensors
from service.model.manifest import Int8Engine
from service.model.openvino_engine import OpenVinoEngine, has_bfloat16
from service.model.openvino_graph import probed_graph
from service.model.openvino_runtime import openvino
from training import gate
from training.probe import metrics, supervision
from training.progress import Progress
from training.stores.store import Store

CALIBRATION, JUDGED, BATCH, SEED = 256, 2000, 8, 0
MIGRATION = (
    0.7  # SmoothQuant's α: of 0, 0.5 and 0.7, what moved the starter's probabilities least (0.015, 0.012, 0.011)
)
LEAST = 1e-5  # magnitude of a channel that is always 0
# Of queries and keys, over the largest of the calibration. Images of more contrast have larger ones: blocks of black
# and white answered with a cosine of 0.9975 where these were cut off, now with 0.9998. On images like the calibration's
# it costs nothing.
HEADROOM = 2
COSINE_MEAN, AVERAGE_PRECISION = 0.999, 0.002  # at least, and at most lost
SPLIT = "test"


def quantise(artifact: Artifact, store: Store) -> tuple[Int8Engine, bytes]:
    """How far int8 is from float32 on the test split, and engines/int8.safetensors.

    Raises ValueError if the store has nothing to calibrate or to judge with.
    """
    calibration, judged = (_some(store.of_split(split), n) for split, n in (("train", CALIBRATION), (SPLIT, JUDGED)))
    known = supervision.read(store.card, store.rows, store.of_split("train")).of(judged)
    names = gate.asked_of(artifact, known)
    if not (len(calibration) and names):
        raise ValueError(f"{store.path} has no train split, or nothing in its test split that the model tells")
    ranges = _ranges(artifact, store, calibration)
    exact = _answers("float32", artifact, OpenVinoEngine(artifact, usable_cpus()), store, judged)
    small = OpenVinoEngine(artifact, usable_cpus(), bfloat16=has_bfloat16(), ranges=ranges)
    close = _answers("int8", artifact, small, store, judged)
    cosines = _cosines(exact[0], close[0])
    told = [gate.columns(artifact, logits, known, names) for _, logits in (exact, close)]
    precision = [metrics.average_precision(columns)["macro"] for columns in told]
    entry = Int8Engine(
        calibration=len(calibration),
        store=store.card.name,
        split=SPLIT,
        n=len(judged),
        cosine_mean=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        probability_difference=float(np.abs(told[1].probabilities - told[0].probabilities).max()),
        average_precision_difference=precision[1] - precision[0],
    )
    return entry, save(dict(ranges))


def is_close(entry: Int8Engine) -> bool:
    """Whether int8 may stand in for float32."""
    return entry.cosine_mean >= COSINE_MEAN and entry.average_precision_difference >= -AVERAGE_PRECISION


def _some(positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    chosen = np.random.default_rng(SEED).permutation(len(positions))[:count]
    return np.sort(positions[chosen])


def _batches(title: str, artifact: Artifact, store: Store, positions: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    size = artifact.manifest.backbone.image_size
    with Progress(f"{title} of {store.card.name}", len(positions), "images") as progress:
        for start in range(0, len(positions), BATCH):
            some = store.images[positions[start : start + BATCH]]
            yield np.stack([resize(image, size) for image in some])
            progress.advance(len(some))


def _ranges(artifact: Artifact, store: Store, positions: NDArray[np.int64]) -> Tensors:
    """See `Artifact.ranges`."""
    graph, names = probed_graph(artifact)
    probe = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    found = []
    for batch in _batches("ranges", artifact, store, positions):
        outputs = probe.infer([batch])
        found.append([outputs[i] for i in range(len(names))])
    extremes = {
        name: (np.min([lows for lows, _ in each], axis=0), np.max([highs for _, highs in each], axis=0))
        for name, each in zip(names, zip(*found, strict=True), strict=True)
    }
    ranges = {}
    for name, (low, high) in extremes.items():
        product, _, operand = name.rpartition(".")
        if operand == "key":
            continue  # with its queries
        if operand == "query":
            smoothing, limits = _of_scores(_largest(low, high), _largest(*extremes[f"{product}.key"]))
        else:
            product, weights = name, np.abs(artifact.backbone[f"{name}.weight"].astype(np.float32)).max(0)
            smoothing = _largest(low, high) ** MIGRATION / np.maximum(weights, LEAST) ** (1 - MIGRATION)
            limits = min((low / smoothing).min(), 0), max((high / smoothing).max(), 0)
        ranges[f"{product}.smoothing"] = smoothing.astype(np.float32)
        ranges[f"{product}.range"] = np.asarray(limits, np.float32)
    return ranges


def _largest(low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Magnitude of each channel."""
    return np.maximum(np.maximum(-low, high), LEAST)


def _of_scores(
    queries: NDArray[np.float32], keys: NDArray[np.float32]
) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Smoothing after which queries and keys are as large as each other in each channel, and the range of both."""
    both = HEADROOM * float(np.sqrt(queries * keys).max())
    return np.sqrt(queries / keys), (-both * 128 / 127, both)


def _answers(
    title: str, artifact: Artifact, engine: OpenVinoEngine, store: Store, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and logits."""
    outputs = [engine.run(batch) for batch in _batches(title, artifact, store, positions)]
    return np.concatenate([out.embeddings for out in outputs]), np.concatenate([out.logits for out in outputs])


def _cosines(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return cosines
