"""What the command lines of several commands share."""

from __future__ import annotations

import argparse
import os
from typing import Any

from deploy.account import STACK, Account


def command(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    """A parser for a command in an account, which `run` carries out; --help shows defaults."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(command=run)
    add_account(command)
    return command


def add_account(command: argparse.ArgumentParser) -> None:
    """Where, and whether at all."""
    group = command.add_argument_group("account", "credentials come from where boto3 finds them")
    group.add_argument(
        "--stack-name",
        dest="stack",
        default=os.environ.get("AERIAL_STACK", STACK),
        help="what `setup` made (AERIAL_STACK)",
    )
    group.add_argument("--region", help="if not that of AWS_DEFAULT_REGION or of the profile")
    group.add_argument("--dry-run", action="store_true", help="print the calls that would change something, as JSON")


def add_options(command: argparse.ArgumentParser) -> None:
    """What a request may ask of the service."""
    command.add_argument("--bands", help="names of the file's bands in file order, such as B04,B03,B02")
    command.add_argument(
        "--option", action="append", default=[], type=named, metavar="NAME=VALUE",
        help="another option of the service, such as boa_offset=-1000 or outputs=embedding; may be given again",
    )  # fmt: skip


def named(text: str) -> tuple[str, str]:
    """NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return name, value


def options(asked: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    """Those of `add_options`, by the service's names."""
    return (*((("bands", asked.bands),) if asked.bands else ()), *asked.option)


def account(asked: argparse.Namespace) -> Account:
    """The account that was asked for."""
    return Account.open(asked.stack, asked.region, asked.dry_run)
