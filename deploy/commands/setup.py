"""setup: the stack that all other commands work in."""

from __future__ import annotations

import argparse
from typing import Any

from deploy.commands.arguments import account, command

TOLD = "the bucket, the container repository and the roles that all other commands use (once for each account)"


def add(commands: Any) -> None:
    """Its command line."""
    setup = command(commands, "setup", TOLD, carry_out)
    setup.add_argument(
        "--read",
        action="append",
        metavar="s3://BUCKET/PREFIX",
        help="imagery elsewhere that jobs and models may read, again for each prefix; without it what was allowed"
        " before stays so, `--read none` takes it back",
    )


def carry_out(asked: argparse.Namespace) -> int:
    """Makes or updates the stack and tells what is in it."""
    from deploy.account import OUTPUTS
    from deploy.stack import formation
    from deploy.stack.parameters import parameters

    where = account(asked)
    formation.make(where, parameters(where, asked.read))
    if where.dry_run:
        return 0
    for name in OUTPUTS:
        print(f"{name:<14}{where.outputs[name]}")
    print("Idle, this costs nothing by the hour: S3 and ECR ask for what is stored, by the GB and month.")
    print("Next: python -m deploy image")
    return 0
