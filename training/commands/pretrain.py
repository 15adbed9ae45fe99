"""`pretrain`: learn without labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.commands import arguments, placement
from training.dino.presets import OPTIONS, PAIR, PRESETS


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    command = arguments.command(commands, "pretrain", "learn without labels: DINO on one or more stores", carry_out)
    command.add_argument("--run", type=Path, help="the run's folder (runs/<store>-<backbone>)")
    add_learning(command)
    placement.add(command, placement.GPU, many=True)


def add_learning(command: argparse.ArgumentParser) -> None:
    """All that pretraining may be told but where it is kept."""
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE", help="to pretrain on")
    command.add_argument(
        "--preset", choices=list(PRESETS), default="reference", help="where the other defaults come from"
    )
    command.add_argument(
        "--splits",
        type=arguments.names,
        default=("train", "validation", "none"),
        help="of the images to learn from; none: without split",
    )
    command.add_argument("--checkpoint-minutes", type=float, default=10.0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--init", default="", help="first weights of the backbone: a .pth or .safetensors file, or timm's name of some"
    )
    command.add_argument(
        "--dtype",
        choices=["auto", "bfloat16", "float32", "float64"],
        default="auto",
        help="auto: the faster of the first two; float64 to compare numbers",
    )
    command.add_argument("--knn-every", type=int, default=1, help="epochs between looks at neighbours; 0: at the end")
    machine = command.add_argument_group("machine", "nothing here changes what is learnt")
    machine.add_argument(
        "--backend", choices=["auto", "nccl", "gloo", "smddp"], default="auto",
        help="over which processes talk that torchrun, OpenMPI or SageMaker started",
    )  # fmt: skip
    machine.add_argument("--compile", choices=["auto", "yes", "no"], default="auto", help="auto: on CUDA")
    learning = command.add_argument_group("learning", "defaults come from the preset")
    for name, (kind, about) in OPTIONS.items():
        known = {"choices": kind} if isinstance(kind, tuple) else {"type": arguments.pair if kind is PAIR else kind}
        learning.add_argument(f"--{name.replace('_', '-')}", default=argparse.SUPPRESS, help=about, **known)


def learning(asked: argparse.Namespace) -> dict[str, Any]:
    """The part of the configuration that has a preset."""
    return {name: getattr(asked, name, value) for name, value in PRESETS[asked.preset].items()}


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training import device, distributed
    from training.dino import pretrain
    from training.dino.config import Config
    from training.runs import Run
    from training.stores.store import SPLITS, Store

    stores = [Store.open(path) for path in asked.stores]
    if unknown := set(asked.splits) - {*SPLITS, "none"}:
        raise ValueError(f"no split is called {', '.join(sorted(unknown))}; there are {', '.join(SPLITS)} and none")
    wanted = {None if split == "none" else split for split in asked.splits}
    positions = [store.of_split(*wanted) for store in stores]
    if len({(store.card.image_shape, store.card.bands) for store in stores}) > 1:
        raise ValueError("the stores differ in image size or bands; pretrain on one kind at a time")
    learnt = learning(asked)
    run = Run(asked.run or Path("runs") / f"{stores[0].card.name}-{learnt['backbone']}")

    def dtype() -> str:
        begun = run.config() if (run.path / "config.json").exists() else None
        return str(begun["dtype"]) if begun else device.fastest_dtype()

    with distributed.started(asked.backend) as workers, device.tuned_for_training(workers.device):
        config = Config(
            stores=tuple(store.card.name for store in stores),
            images=sum(map(len, positions)),
            bands=stores[0].card.bands,
            seed=asked.seed,
            init=asked.init,
            dtype=workers.from_first(lambda: dtype().encode()).decode() if asked.dtype == "auto" else asked.dtype,
            **learnt,
        )
        compiled = asked.compile == "yes" or (asked.compile == "auto" and workers.device.type == "cuda")
        pretraining = pretrain.Pretraining(run, config, stores, positions, workers, compiled)
        pretraining.begin()
        pretraining.train(asked.checkpoint_minutes, asked.knn_every)
        if workers.is_first:
            print(f"{run.path}: {config.epochs:g} epochs done; curve in {run.curve}")
    return 0
