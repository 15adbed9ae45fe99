"""What a command line asks of SageMaker: its stores as channels, its run as a prefix, the rest as it was typed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from training import inside
from training.inside import CHANNELS, RUNS, Typed

STORES = ("store", "stores", "--stores", "--probe-store")  #: options and positionals that name stores
FILES = ("--init", "--rows")  #: that may name files and folders, among other things
MATERIAL = ("source", "--splits", "--labels")  #: of prepare, that name imagery and what belongs to it
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
INPUT, OUTPUT = PurePosixPath("/opt/ml/processing/input"), PurePosixPath("/opt/ml/processing/output")
PUBLISHED = PurePosixPath("/opt/ml/processing/published")  #: where a job fetches what is published


@dataclass
class Order:
    """A command for a job. Paths in `typed` are those inside of it."""

    command: str  #: such as `pretrain` or `prepare eurosat`
    typed: dict[str, str | bool | Sequence[str]] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)  #: name → s3://…
    stores: list[str] = field(default_factory=list)  #: those of the channels that must be stores
    name: str = ""  #: of the run, or of the store that is made

    @property
    def hyperparameters(self) -> dict[str, str]:
        """Of a training job."""
        return inside.hyperparameters(self.command, self.typed)

    @property
    def line(self) -> list[str]:
        """Of a processing job."""
        return inside.tokens(self.command, self.typed)

    def bring(self, place: str, into: PurePosixPath, wanted: str) -> str:
        """Makes a channel of a place in S3 and returns its path inside; two places never share a channel."""
        known = {uri: name for name, uri in self.channels.items()}
        name = known.get(place, wanted)
        while self.channels.get(name, place) != place:
            name += "_"
        self.channels[name] = place
        file = PurePosixPath(place)
        return str(into / name / file.name) if file.suffix and not place.endswith("/") else str(into / name)


def as_typed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, str | bool | Sequence[str]]:
    """A command line as it was typed, option by option: without types and defaults. Uses the parser up.

    Several values of one option are a list; of an option that was said several times, a tuple.
    """
    repeated = set(_bare(parser))
    read = vars(parser.parse_args(arguments))
    return {name: tuple(value) if name in repeated else value for name, value in read.items()}


def _bare(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Takes types and defaults away; tells which options may be said several times."""
    parser._defaults.clear()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _bare(below)
            continue
        action.dest = action.option_strings[-1] if action.option_strings else action.dest
        action.type, action.default = None, argparse.SUPPRESS
        if isinstance(action, argparse._AppendAction):
            yield action.dest


def training(command: str, typed: Typed, bucket: str, usual_run: Callable[[str], str]) -> Order:
    """A command on stores and a run; unless it is named, by its first store. Raises ValueError for what lies here."""
    order = Order(command, dict(typed))
    for option in STORES:
        places = typed.get(option, ())
        if isinstance(places, str):
            order.typed[option] = _store(order, places, bucket)
        elif not isinstance(places, bool) and places:
            order.typed[option] = [_store(order, place, bucket) for place in places]
    for option in FILES:
        if isinstance(said := typed.get(option), str):
            order.typed[option] = ",".join(_file(order, part, option) for part in said.split(","))
    run = typed.get("--run") or usual_run(order.stores[0].rstrip("/").rpartition("/")[2])
    order.name = _named(str(run), "--run")
    order.typed["--run"] = str(RUNS / order.name)
    return order


def preparation(command: str, typed: Typed) -> Order:
    """A store that is made of imagery in S3, or of what is published."""
    order = Order(command, dict(typed), name=_named(str(typed["--out"]), "--out"))
    for option in MATERIAL:
        if not isinstance(place := typed.get(option), str):
            continue
        if option == "source" and typed.get("--download"):
            order.typed[option] = str(PUBLISHED)
            continue
        if not place.startswith("s3://"):
            raise ValueError(f"{option} {place}: a job reads from S3; `training/run.py upload bands` sends it there")
        order.typed[option] = order.bring(place, INPUT, option.removeprefix("--"))
    order.typed["--out"] = str(OUTPUT)
    return order


def store_address(place: str, bucket: str) -> str:
    """s3://…/ of a store: as it is said, or by its name in the stack's bucket."""
    return f"{place.rstrip('/')}/" if place.startswith("s3://") else f"s3://{bucket}/stores/{place}/"


def _store(order: Order, place: str, bucket: str) -> str:
    if not place.startswith("s3://") and not NAME.fullmatch(place):
        raise ValueError(f"{place}: a job reads stores from S3; `training/run.py upload store {place}` sends it there")
    address = store_address(place, bucket)
    order.stores.append(address)
    return order.bring(address, PurePosixPath(CHANNELS), re.sub(r"\W", "_", address.rstrip("/").rpartition("/")[2]))


def _file(order: Order, place: str, option: str) -> str:
    if place.startswith("s3://"):
        return order.bring(place, PurePosixPath(CHANNELS), f"{option.removeprefix('--')}_{len(order.channels)}")
    if Path(place).exists():
        raise ValueError(f"{option} {place}: it lies on this machine; copy it to S3 and say s3://…")
    return place


def _named(text: str, option: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError(f"{option} {text}: on SageMaker it is a name, of letters, digits, dots and dashes")
    return text
