"""`stop`: ends a job on SageMaker."""

from __future__ import annotations

import argparse
from typing import Any

from training.commands import account, arguments


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    about = "end a job on SageMaker; a pretraining saves a checkpoint first, and its run can be continued"
    command = arguments.command(commands, "stop", about, carry_out)
    command.add_argument("job", metavar="JOB", help="name of a training, processing or transform job")
    account.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import running

    def end(own: Any) -> int:
        before = running.stop(own, asked.job)
        print(f"{asked.job} is told to stop" if before == "InProgress" else f"{asked.job} is {before} already")
        return 0

    return account.within(asked, end)
