"""teardown: all of it removed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from deploy.commands.arguments import account, command

if TYPE_CHECKING:
    from deploy.account import Account

TOLD = "shows everything that exists of the stack and, once its name is typed, removes all of it, data included"
HISTORY = (
    "{} transform jobs that are over stay in SageMaker's list: AWS has no call to delete them, and they cost nothing."
)


def add(commands: Any) -> None:
    """Its command line."""
    teardown = command(commands, "teardown", TOLD, carry_out)
    teardown.add_argument("--yes", action="store_true", help="do not ask, for scripts")


def carry_out(asked: argparse.Namespace) -> int:
    """Lists, asks, removes, and lists again; 1 if anything is left."""
    from deploy.inventory import jobs
    from deploy.inventory.table import as_text
    from deploy.inventory.taken import REMOVABLE, take
    from deploy.teardown.order import remove

    where = account(asked)
    if not (found := take(where, REMOVABLE)):
        print(f"Nothing of the stack {where.stack} exists in {where.region}.")
        return 0
    print(as_text(found), file=sys.stderr)
    if not (asked.yes or where.dry_run):
        _require_name(where)
    remove(where)
    if where.dry_run:
        return 0
    if left := take(where, REMOVABLE):
        print(f"Left, run teardown again:\n{as_text(left)}")
        return 1
    print(f"Nothing of the stack {where.stack} is left in {where.region}.")
    if history := len(list(jobs.history(where))):
        print(HISTORY.format(history))
    return 0


def _require_name(where: Account) -> None:
    from deploy.errors import DeployError

    if not sys.stdin.isatty():
        raise DeployError("not_confirmed", "There is no terminal to ask at: say --yes to remove all of this.")
    typed = input(f"All of this will be gone for good, data included. Type {where.stack} to remove it: ")
    if typed.strip() != where.stack:
        raise DeployError("not_confirmed", f"That was not {where.stack}: nothing was removed.")
