"""status: what there is."""

from __future__ import annotations

import argparse
from typing import Any

from deploy.commands.arguments import account, command

TOLD = "what exists of the stack and what of it costs while idle; changes nothing"


def add(commands: Any) -> None:
    """Its command line."""
    status = command(commands, "status", TOLD, carry_out)
    status.add_argument("--json", action="store_true", help="for machines")


def carry_out(asked: argparse.Namespace) -> int:
    """Lists and tells."""
    from deploy.inventory.table import as_json, as_text
    from deploy.inventory.taken import SHOWN, take

    where = account(asked)
    found = take(where, SHOWN)
    if asked.json:
        print(as_json(found))
    else:
        print(as_text(found) or f"Nothing of the stack {where.stack} exists in {where.region}.")
    return 0
