"""`report`: one page about a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.commands import arguments, placement


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    command = arguments.command(commands, "report", "write one HTML page about the run", carry_out)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument(
        "--stores", type=Path, nargs="+", metavar="STORE", help="whose patches are shown (that of the probe)"
    )
    command.add_argument("--out", type=Path, metavar="FILE", help="the page (<run>/report/index.html)")
    placement.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training.report import page
    from training.runs import Run
    from training.stores.store import Store

    run = Run(asked.run)
    stores = [Store.open(path) for path in asked.stores] if asked.stores else page.of_probe(run)
    page.write(run, stores, asked.out or run.report)
    print(f"{asked.out or run.report}: a page about {run.name}")
    return 0
