"""`probe`: a linear head on the frozen backbone."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.commands import arguments, placement


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    command = arguments.command(commands, "probe", "fit a linear head on the frozen backbone", carry_out)
    command.add_argument("store", type=Path, metavar="STORE")
    command.add_argument("--run", type=Path, required=True)
    arguments.add_head(command)
    placement.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training.probe.train import probe
    from training.runs import Run
    from training.stores.store import Store

    result = probe(
        Run(asked.run), Store.open(asked.store), *arguments.protocol(asked), getattr(asked, "precision", None)
    )
    reached = result["validation"]
    print(f"{asked.run}: validation macro AP {reached['macro']:.3f}, micro AP {reached['micro']:.3f}")
    for part in (*result["labels"], *result["groups"]):
        told = " and ".join(part.get("supervision", ["any of its members"])) or "none: answered null"
        told += "" if part["threshold"] is None else f", listed from {part['threshold']:.3f} on"
        print(f"  {part['name']}: {told}")
    return 0
