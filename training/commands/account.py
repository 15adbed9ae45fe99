"""The account in which commands about SageMaker work."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deploy.account import Account


def add(group: Any) -> None:
    """Its options, to a command or a group of options."""
    unsaid: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--stack-name", dest="stack", help="what `python -m deploy setup` made (AERIAL_STACK)", **unsaid)
    group.add_argument("--region", help="if not that of AWS_DEFAULT_REGION or of the profile", **unsaid)
    group.add_argument("--dry-run", action="store_true", help="print what would be asked of AWS, as JSON", **unsaid)


def words(asked: argparse.Namespace) -> str:
    """The options as they were said, to be said again."""
    options = {"stack": "--stack-name", "region": "--region"}
    return "".join(f" {option} {getattr(asked, name)}" for name, option in options.items() if hasattr(asked, name))


def within(asked: argparse.Namespace, work: Callable[[Account], int]) -> int:
    """The exit code of what is done in the account; what AWS refuses is told."""
    from deploy.account import STACK, Account
    from deploy.errors import DeployError, explained

    stack = getattr(asked, "stack", None) or os.environ.get("AERIAL_STACK", STACK)
    try:
        with explained():
            return work(Account.open(stack, getattr(asked, "region", None), getattr(asked, "dry_run", False)))
    except DeployError as error:
        print(error, file=sys.stderr)
        return 1
