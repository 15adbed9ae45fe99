"""`evaluate`: a table of representations."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from training.commands import arguments, placement

ROWS = ("statistics", "untrained", "ours")


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    command = arguments.command(
        commands, "evaluate", "compare representations on the test splits; adds to what was evaluated before", carry_out
    )
    command.add_argument("stores", type=Path, nargs="+", metavar="STORE")
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path)
    what.add_argument(
        "--predictions", type=Path, metavar="FILE.parquet",
        help="instead of representations: what `python -m deploy collect` made; STORE may then be a CSV, too, with "
        "the columns id and labels (separated by |)",
    )  # fmt: skip
    arguments.add_protocol(command)
    command.add_argument(
        "--rows", type=arguments.names, default=ROWS,
        help="statistics; untrained; supervised, which is trained first, with the labels of the first store that has "
        "any; ours; the folder of another run or of an artifact; a .pth or .safetensors file; any name that timm has "
        "weights of",
    )  # fmt: skip
    placement.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    if asked.predictions is not None:
        return _of_predictions(asked)
    from training.files import write_json
    from training.probe import evaluate, rows
    from training.probe.train import require_bands
    from training.runs import Run
    from training.stores.store import Store

    run = Run(asked.run)
    kind, protocol = arguments.protocol(asked)
    stores = [Store.open(path) for path in asked.stores]
    for store in stores:
        require_bands(run, store)
    entries = []
    for row in asked.rows:
        representation = rows.representation(row, run, stores, kind)
        entries += [evaluate.evaluate(representation, store, run.features, protocol) for store in stores]
    asked_again = {(entry["representation"], entry["store"]) for entry in entries}
    before = json.loads(run.evaluation.read_text()) if run.evaluation.exists() else []
    entries = [e for e in before if (e["representation"], e["store"]) not in asked_again] + entries
    write_json(run.evaluation, entries)
    print(evaluate.table(entries))
    for entry in entries:
        if entry["representation"] == run.name and "per_label" in entry:
            print(f"\naverage precision on {entry['store']}, {entry['split']} split:")
            print(evaluate.per_label_table(entry))
    return 0


def _of_predictions(asked: argparse.Namespace) -> int:
    from training import predictions
    from training.probe import evaluate

    entries = [predictions.evaluate(asked.predictions, predictions.known(path)) for path in asked.stores]
    print(evaluate.table(entries))
    for entry in entries:
        print(f"\naverage precision on {entry['store']}, {entry['split']} split, {entry['n']} images:")
        print(evaluate.per_label_table(entry))
        print(f"  {entry['unmatched']} predictions are of no image of it, {entry['unanswered']} images have none")
    return 0
