"""`refresh`: from stores to a served artifact."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from training.commands import arguments, evaluate, package, placement, pretrain, probe
from training.inside import CHANNELS
from training.inside import arguments as arguments_of_job

#: Options that a continued refresh may be told otherwise: nothing in them changes the artifact.
FREE = {
    *("command", "run", "model_dir", "accept", "backend", "compile", "checkpoint_minutes", "knn_every"),
    *("on", "usual_instance_type"),
}


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    about = "pretrain, probe, evaluate, package; then put the artifact where it is served, unless it is worse (exit 3)"
    command = arguments.command(commands, "refresh", about, carry_out)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--probe-store", type=Path, required=True, metavar="STORE", help="with labels and all splits")
    command.add_argument(
        "--model-dir", type=Path, default=os.environ.get("MODEL_DIR") or None,
        help="where it is served; what was there is kept beside it, as DIR.previous",
    )  # fmt: skip
    command.add_argument("--accept", action="store_true", help="put it in place whatever the gate says")
    arguments.add_naming(command)
    arguments.add_head(command)
    pretrain.add_learning(command)
    placement.add(command, placement.GPU, many=True)
    command.add_argument(
        "--endpoint", default=argparse.SUPPRESS,
        help="with --on sagemaker: where it is served (default: the stack's endpoint, if there is one)",
    )  # fmt: skip


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training import refresh
    from training.distributed import Place
    from training.runs import Run
    from training.stores.store import Store

    run, store = Run(asked.run), Store.open(asked.probe_store)
    if asked.model_dir is None:
        raise ValueError("where is it served? Say --model-dir, or set MODEL_DIR")
    if asked.model_dir.resolve() == run.artifact.resolve():
        raise ValueError(f"{asked.model_dir} is where the run makes its artifact; serve another folder")
    is_first, learning = Place.read().rank == 0, {**pretrain.learning(asked), "seed": asked.seed}
    if is_first:
        created = [Store.open(path).created for path in (*asked.stores, asked.probe_store)]
        said = {key: value for key, value in vars(asked).items() if key not in FREE} | learning | {"created": created}
        refresh.begin(run, *(json.loads(json.dumps(part, default=_told)) for part in (said, learning)))
        if arguments_of_job(os.environ):
            refresh.in_order(run)
    if Place.read().world > 1 or not refresh.is_pretrained(run):  # other hosts may not see what the first does
        pretrain.carry_out(asked)
    if not is_first:
        return 0
    own = {
        "store": asked.probe_store,
        "stores": [asked.probe_store],
        "rows": evaluate.ROWS,
        "predictions": None,
        "out": None,
    }
    later = argparse.Namespace(**vars(asked) | own)
    made = refresh.chain(run)
    for source, result, stage in zip(
        made, made[1:], (probe.carry_out, evaluate.carry_out, package.carry_out), strict=False
    ):
        if not refresh.is_made(result, source):
            stage(later)
    verdict = refresh.judge(run, store, asked.model_dir)
    print(f"gate: {verdict.reason}")
    if not verdict.passed and not asked.accept:
        told = f"{asked.model_dir} is left as it was; the candidate is {run.artifact}"
        print(f"refused: {told}. --accept puts it in place all the same", file=sys.stderr)
        return 3
    print(refresh.put_in_place(run, asked.model_dir))
    return 0


def _told(path: Path) -> str:
    """A path as it is recorded; of a job's channel its name, wherever a container has it."""
    return str(path).removeprefix(f"{CHANNELS}/")
