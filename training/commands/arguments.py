"""What the command lines of several commands share."""

from __future__ import annotations

import argparse
from typing import Any


def command(commands: Any, name: str, about: str, run: Any) -> argparse.ArgumentParser:
    """A parser for a command, which `run` carries out; --help shows defaults."""
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=about, description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    command.set_defaults(command=run)
    return command


def names(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pair(text: str) -> tuple[float, float]:
    """Two numbers with a comma between."""
    first, last = (float(part) for part in text.split(","))
    return first, last


def add_bands(command: argparse.ArgumentParser) -> None:
    """The bands of a store."""
    command.add_argument("--bands", type=names, default=("B04", "B03", "B02"), help="bands to keep, in this order")


def add_protocol(command: argparse.ArgumentParser) -> None:
    """How heads are fitted."""
    command.add_argument(
        "--features", choices=["cls", "cls4"], default=argparse.SUPPRESS,
        help="cls token of the last block, or of the last four (default: cls, and cls4 with --fit reference)",
    )  # fmt: skip
    command.add_argument(
        "--fit", choices=["exact", "reference"], default="exact",
        help="L-BFGS with the best of some penalties, or DINO's protocol: SGD and a cosine over 100 epochs",
    )  # fmt: skip
    command.add_argument(
        "--balance", choices=["none", "inverse"], default="none",
        help="inverse: rare labels count more while they are learnt, and are brought back afterwards",
    )  # fmt: skip


def protocol(asked: argparse.Namespace) -> tuple[str, Any]:
    """Features and protocol that were asked for."""
    from training.probe.protocol import Protocol

    kind = getattr(asked, "features", "cls4" if asked.fit == "reference" else "cls")
    return kind, Protocol(asked.fit, asked.balance)


def share(text: str) -> float:
    """A number over 0 and up to 1."""
    share = float(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not over 0 and up to 1")
    return share


def add_head(command: argparse.ArgumentParser) -> None:
    """How the probe's head is fitted, and from when on it lists a label."""
    add_protocol(command)
    command.add_argument(
        "--precision", type=share, default=argparse.SUPPRESS,
        help="list a label from the lowest probability on with which it is right this often on the validation split, "
        "such as 0.9, and never where there is none (default: from that of the best F1 on)",
    )  # fmt: skip


def add_naming(command: argparse.ArgumentParser) -> None:
    """What an artifact is called."""
    command.add_argument("--name", required=True)
    command.add_argument("--version", default="1")
    command.add_argument("--description", default="")
    command.add_argument(
        "--divisor", type=float, help="DN that becomes 255 when serving, if not that of the probe's store"
    )
