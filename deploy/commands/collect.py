"""`collect`: what transforms answered, as one GeoParquet."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from deploy.commands import arguments
from deploy.errors import DeployError


def add(commands: Any) -> None:
    """Adds the command to those of `python -m deploy`."""
    about = "join the answers of transforms into one GeoParquet and list what failed and why; killed and called "
    about += "again, it goes on where it was"
    command = arguments.command(commands, "collect", about, carry_out)
    command.add_argument(
        "outputs", nargs="+", metavar="JOB",
        help="or the s3:// prefix of its answers; of an input that several have answered, the last answer counts",
    )  # fmt: skip
    command.add_argument(
        "--to", type=Path, required=True, metavar="FILE.parquet", help="failures come beside it, as .failures.jsonl"
    )
    command.add_argument("--resubmit", action="store_true", help="begin another transform, of just what failed")


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import resubmission
    from deploy.collection import collect
    from deploy.outputs import Output

    account = arguments.account(asked)
    if asked.to.suffix != ".parquet":
        raise DeployError("bad_name", f"{asked.to} must end in .parquet.")
    outputs = [Output.of(account, said) for said in asked.outputs]
    collection = collect(account, outputs, asked.to)
    print(f"{asked.to}: {collection.rows} predictions")
    if not collection.failures:
        return 0
    print(f"{asked.to.with_suffix('.failures.jsonl')}: {len(collection.failures)} failed")
    for code, count in Counter(failure.code for failure in collection.failures).most_common():
        example = next(failure for failure in collection.failures if failure.code == code)
        print(f"  {count} {code}, such as {example.source}: {example.detail}")
    if asked.resubmit:
        for output in outputs:
            if any(failure.job == output.job for failure in collection.failures) and output.job:
                print(resubmission.resubmit(account, output, collection.failures))
    elif all(output.job for output in outputs):
        print("once their cause is gone, --resubmit sends just these again", file=sys.stderr)
    return 0
