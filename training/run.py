"""Makes the weights that the service serves, one command after the other:

    prepare    a store from BigEarthNet, EuroSAT or a folder of GeoTIFFs
    pretrain   DINO on stores, without labels
    probe      a linear head on the frozen backbone, for a labelled store
    evaluate   a table of representations on the test splits
    report     one page about the run, to look at
    package    the artifact
    refresh    all of these from pretrain on, and the artifact to where it is served, if it is not worse
    upload     a store or imagery to S3, for jobs
    watch      a job on SageMaker: its log, loss and use of the machine; ctrl-C leaves it running
    stop       a job on SageMaker

With --on sagemaker the first seven run there, on stores and a run in the bucket that `python -m deploy setup` makes.
Every command shows its progress and, killed and called again, goes on where it was. Exit codes: 0 done; 1 it cannot
do what it was asked, and says why; 2 a wrong command line; 3 refresh: the gate refuses; 143 pretrain: SIGTERM came,
a checkpoint is saved, call it again to go on; 130 watch: it was left with ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # python training/run.py
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training import inside
from training.commands import (
    evaluate,
    package,
    placement,
    prepare,
    pretrain,
    probe,
    refresh,
    report,
    stop,
    upload,
    watch,
)

COMMANDS = (prepare, pretrain, probe, evaluate, report, package, refresh, upload, watch, stop)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code, as the module's own text says. In a job of SageMaker the arguments come from its request."""
    of_job = inside.arguments(os.environ) if arguments is None else None
    if of_job is not None:
        return inside.carry_out(_run, of_job)
    return _run(sys.argv[1:] if arguments is None else arguments)


def _run(arguments: Sequence[str]) -> int:
    known = parser()
    asked = known.parse_args(arguments)
    try:
        return int(placement.command(asked, known, parser(), arguments)(asked) or 0)
    except (OSError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        inside.tell(error)
        return 1


def parser() -> argparse.ArgumentParser:
    """Of all commands; answers --help without importing anything heavy."""
    top = argparse.ArgumentParser(
        prog="training/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
