"""`invoke`: files to an endpoint, and its answer for people."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from deploy.commands import arguments
from deploy.errors import DeployError

JSON = "application/json"


def add(commands: Any) -> None:
    """Adds the command to those of `python -m deploy`."""
    about = "send GeoTIFFs to an endpoint of any kind and show its answer"
    command = arguments.command(commands, "invoke", about, carry_out)
    command.add_argument(
        "files", nargs="+", type=Path, metavar="FILE",
        help="GeoTIFFs, or the single-band files of a tile, together one request; or a body as .json or .jsonl",
    )  # fmt: skip
    command.add_argument("--endpoint", metavar="NAME", help="if not that of the stack")
    arguments.add_options(command)
    command.add_argument("--top", type=int, default=5, help="labels to show")
    command.add_argument("--json", action="store_true", help="the answer as it came")
    command.add_argument("--accept", default=JSON, help="another media type of the answer; needs --out")
    command.add_argument("--out", type=Path, metavar="FILE", help="write the answer as it came to a file")


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import endpoints, invocation, telling

    if asked.accept != JSON and asked.out is None:
        raise DeployError("bad_option", f"An answer as {asked.accept} is not for a terminal: say --out FILE.")
    body = invocation.Body.of(asked.files)
    account = arguments.account(asked)
    name = asked.endpoint or account.stack
    hosting = endpoints.current(account, name).hosting
    answer = invocation.invoke(account, name, hosting, body, asked.accept, dict(arguments.options(asked)))
    if answer is None:
        return 0
    if asked.out is not None:
        asked.out.write_bytes(answer)
        print(f"{asked.out}: {len(answer)} bytes", file=sys.stderr)
    elif asked.json:
        print(answer.decode())
    else:
        print(telling.tell(json.loads(answer), asked.top))
    return 0
