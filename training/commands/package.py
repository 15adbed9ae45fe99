"""`package`: the artifact of a run."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from training.commands import arguments, placement


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    command = arguments.command(commands, "package", "write the artifact of a run", carry_out)
    command.add_argument("--run", type=Path, required=True)
    command.add_argument("--out", type=Path, help="an empty folder (<run>/artifact)")
    arguments.add_naming(command)
    placement.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from training.package import package
    from training.runs import Run

    run = Run(asked.run)
    if asked.out is None:
        shutil.rmtree(run.artifact, ignore_errors=True)  # of an earlier probe or evaluation
    made, int8 = package(run, asked.out or run.artifact, asked.name, asked.version, asked.description, asked.divisor)
    print(f"{made.path}: {made.manifest.name} {made.manifest.version}, sha256 {made.sha256}")
    print(f"int8 {int8}")
    return 0
