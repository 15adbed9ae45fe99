"""`watch`: a job on SageMaker as it runs, whoever started it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from training.commands import account, arguments

LEFT = 130  #: exit code after ctrl-C, as a shell says it
FOLDER = Path("runs", "jobs")


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    about = "follow a job on SageMaker: its log, loss and use of the machine; ctrl-C leaves it running"
    command = arguments.command(commands, "watch", about, carry_out)
    command.add_argument("job", metavar="JOB", help="name of a training, processing or transform job")
    command.add_argument("--out", type=Path, help=f"folder for log and plot ({FOLDER}/JOB)", default=None)
    account.add(command)


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import running

    return account.within(asked, lambda own: follow(own, running.kind_of(own, asked.job), asked.job, asked.out))


def follow(own: Any, kind: Any, job: str, folder: Path | None = None) -> int:
    """Tells a job's log until it ends, and keeps it with a plot. 0 only if it came to its end."""
    from deploy import following
    from training import job_record

    record = job_record.JobRecord(job)
    status, said = "", None
    try:
        for said, lines in following.until_ended(own, kind, job):
            record.began = min(record.began, said["CreationTime"])  # machines are measured before they log
            for line in lines:
                record.add(line.at, line.host, line.text)
                print(f"{line.host} {line.text}" if kind.instances(said) > 1 else line.text)
            if (now := said.get("SecondaryStatus", kind.status(said))) != status:
                status = now
                print(f"watch: {job} is {status}", file=sys.stderr)
            if record.is_due():
                _measure(own, kind, record)
                print(f"watch: {record.figures()}", file=sys.stderr)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\n{job} goes on; `watch {job}` follows it again, `stop {job}` ends it", file=sys.stderr)
        return LEFT
    assert said is not None
    _measure(own, kind, record)
    kept = record.save(folder or FOLDER / job)
    print(f"watch: {record.figures()}; kept in {' and '.join(map(str, kept))}", file=sys.stderr)
    if kind.status(said) == "Completed":
        return 0
    reason = said.get("FailureReason") or said.get("ExitMessage") or "it was stopped"
    print(f"{job} is {kind.status(said)}: {reason}", file=sys.stderr)
    return 1


def _measure(own: Any, kind: Any, record: Any) -> None:
    from deploy import following

    if record.hosts:
        record.use = following.use(own, kind, record.job, sorted(record.hosts), record.began)
