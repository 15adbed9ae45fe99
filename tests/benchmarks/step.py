"""A whole step of DINO, ours against the reference's training loop, on the same crops in memory.

    git clone https://github.com/facebookresearch/dino
    python -m tests.benchmarks.step --reference dino [--batch 4] [--rounds 3]

ViT-S/16 with 65,536 prototypes, two crops of 224 px and eight of 96 px. On a CPU the reference computes in float32, as
it is written; with CUDA it runs with its fp16 option. Ours runs as `pretrain` would: bfloat16 where that is faster,
compiled with CUDA. They take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from training import device as machine
from training.dino.chance import Chance
from training.dino.config import Config
from training.dino.learner import Learner
from training.dino.presets import PRESETS

GFLOP_AN_IMAGE = 113.8  # student forward and backward, teacher forward
PEAK_TFLOPS = {"H200": 989, "H100": 989, "A100": 312}  # bfloat16, dense; by the makers' data sheets
STEPS_AN_EPOCH = 1000


def reference(folder: Path, device: torch.device, batch: int) -> Callable[[list[torch.Tensor]], float]:
    """The reference's networks, loss, optimiser and loop; a call is a step and gives its loss."""
    sys.path.insert(0, str(folder.resolve()))
    import main_dino
    import utils
    import vision_transformer

    if device.type == "cpu":  # it moves everything to a GPU and waits for it
        torch.Tensor.cuda = lambda self, *_, **__: self
        torch.cuda.synchronize = lambda *_: None
        utils.MetricLogger.synchronize_between_processes = lambda _: None
    store = Path(tempfile.mkdtemp()) / "store"
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=f"file://{store}", rank=0, world_size=1)

    def network(**more: float) -> Any:
        made = utils.MultiCropWrapper(
            vision_transformer.vit_small(patch_size=16, **more), main_dino.DINOHead(384, 65536, norm_last_layer=True)
        )
        return made.to(device)

    student = torch.nn.parallel.DistributedDataParallel(network(drop_path_rate=0.1))
    teacher = network()
    teacher.load_state_dict(student.module.state_dict())
    for parameter in teacher.parameters():
        parameter.requires_grad = False
    loss = main_dino.DINOLoss(65536, 10, 0.04, 0.04, 0, 100).to(device)
    optimizer = torch.optim.AdamW(utils.get_params_groups(student))
    scaler = torch.amp.GradScaler() if device.type == "cuda" else None
    schedules = [
        utils.cosine_scheduler(first, last, 100, STEPS_AN_EPOCH)
        for first, last in ((0.0005 * batch / 256, 1e-6), (0.04, 0.4), (0.996, 1))
    ]
    options = argparse.Namespace(epochs=100, clip_grad=3.0, freeze_last_layer=1)

    def step(crops: list[torch.Tensor]) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            figures = main_dino.train_one_epoch(
                student, teacher, teacher, loss, [(crops, None)], optimizer, *schedules, 0, scaler, options
            )
        return float(figures["loss"])

    return step


def ours(device: torch.device, batch: int) -> Callable[[list[torch.Tensor]], torch.Tensor]:
    """The product's learner, likewise."""
    config = Config(
        stores=("none",), images=batch * STEPS_AN_EPOCH, bands=("B04", "B03", "B02"), seed=0,
        dtype=machine.fastest_dtype(), **PRESETS["reference"] | {"batch": batch},
    )  # fmt: skip
    with machine.tuned_for_training(device):
        learner = Learner(config, device, STEPS_AN_EPOCH, compiled=device.type == "cuda")

    def step(crops: list[torch.Tensor]) -> torch.Tensor:
        figures = learner.learn(0, torch.cat(crops[:2]), torch.cat(crops[2:]), Chance(0, device))
        return figures["loss"]

    return step


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of some work, until the device has done it."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main() -> None:
    """Times both in turns and prints the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="a clone of facebookresearch/dino")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1, help="a round")
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    crops = [torch.randn(asked.batch, 3, size, size, device=device) for size in [224] * 2 + [96] * 8]
    steps = {"reference": reference(asked.reference, device, asked.batch), "ours": ours(device, asked.batch)}
    for step in steps.values():
        step(crops)
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(asked.rounds):
        for name, step in steps.items():
            took = seconds(lambda step=step: [step(crops) for _ in range(asked.steps)], device)
            rates[name].append(asked.batch * asked.steps / took)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{name}: {medians[name]:.2f} images/s, from {min(found):.2f} to {max(found):.2f}")
    print(f"ours / reference: {medians['ours'] / medians['reference']:.2f}")
    if device.type == "cuda":
        card = torch.cuda.get_device_name()
        peak = next((value for name, value in PEAK_TFLOPS.items() if name in card), None)
        share = f", {medians['ours'] * GFLOP_AN_IMAGE / 1000 / peak:.0%} of its peak" if peak else ""
        print(f"{card}: {medians['ours'] * GFLOP_AN_IMAGE / 1000:.0f} TFLOP/s{share}")


if __name__ == "__main__":
    main()
