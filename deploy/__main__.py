"""Carries artifacts to SageMaker, and imagery through them:

    setup      the stack: a bucket, a container repository, roles
    image      the container, built and pushed
    endpoint   register an artifact and have an endpoint serve it: in real time, from a queue, or serverless
    invoke     send GeoTIFFs to an endpoint, and show its answer
    transform  send everything under a prefix, or every line of a manifest, through a model
    collect    join the answers of transforms into one GeoParquet, and list what failed and why
    status     what exists of the stack, and what of it costs while idle
    teardown   all of it removed

Credentials, region and profile are found as boto3 finds them. Exit codes: 0 done; 1 it cannot do what it was asked, and
says why; 2 a wrong command line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from deploy.commands import collect, endpoint, image, invoke, setup, status, teardown, transform
from deploy.errors import DeployError, explained

COMMANDS: tuple[Any, ...] = (setup, image, endpoint, invoke, transform, collect, status, teardown)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code, as the module's own text says."""
    asked = parser().parse_args(arguments)
    try:
        with explained():
            return int(asked.command(asked) or 0)
    except (DeployError, OSError, ValueError) as error:
        print(error if isinstance(error, DeployError) else f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Of all commands; answers --help without importing anything heavy."""
    top = argparse.ArgumentParser(
        prog="python -m deploy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
