"""`upload`: a store or imagery to S3."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.commands import account, arguments

if TYPE_CHECKING:
    from deploy.account import Account
    from deploy.storage import Address
    from deploy.uploads import Source


@dataclass(frozen=True)
class Load:
    """What is sent."""

    shelf: str  #: folder of the bucket
    sources: list[Source]
    then: str  #: the command to follow
    last: Source | None = None  #: after all others, as it says that they are there

    def __len__(self) -> int:
        return len(self.sources) + (self.last is not None)


def add(commands: Any) -> None:
    """Adds the command to those of run.py."""
    about = "send a store or imagery to S3, for jobs; what is there already is not sent again"
    kinds = commands.add_parser("upload", help=about, description=about).add_subparsers(required=True, metavar="KIND")

    def kind(name: str, about: str, what: Any) -> argparse.ArgumentParser:
        command = arguments.command(kinds, name, about, carry_out)
        command.set_defaults(load_of=what)
        command.add_argument("folder", type=Path, metavar="FOLDER")
        command.add_argument("--name", help="of the folder in S3 (that of FOLDER)")
        account.add(command)
        return command

    kind("store", "a store, to stores/NAME/: for --on sagemaker", _store)
    bands = kind("bands", "band files of BigEarthNet, to tiles/NAME/: for prepare --on sagemaker", _bands)
    arguments.add_bands(bands)
    bands.add_argument(
        "--stack",
        dest="stacked",
        action="store_true",
        help="as one GeoTIFF a patch: for a batch transform, where an object is a tile",
    )


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy.storage import Address

    load: Load = asked.load_of(asked)
    name = asked.name or asked.folder.resolve().name

    def work(own: Account) -> int:
        prefix = Address(own.bucket, f"{load.shelf}/{name}/")
        sent, failed = _send(own, load.sources, prefix)
        if load.last is not None and not failed:
            sent += _send(own, [load.last], prefix)[0]
        done = "would be sent" if own.dry_run else "sent"
        print(f"{prefix}: {sent} {done}, {len(load) - sent - len(failed)} were there already")
        for file, error in failed:
            print(f"  {file} cannot be read: {error}", file=sys.stderr)
        if not failed:
            print(f"next: {load.then.format(prefix=prefix, name=name)}")
        return 1 if failed else 0

    return account.within(asked, work)


def _send(own: Account, sources: list[Source], prefix: Address) -> tuple[int, list[tuple[str, Exception]]]:
    """How many were sent, and which cannot be read."""
    from deploy import uploads
    from training.progress import Progress

    sent, failed = 0, []
    with Progress("upload", len(sources), "files") as progress:
        for told in uploads.send(own, sources, prefix):
            if isinstance(told, uploads.Sent):
                sent += not told.was_there
            else:
                failed.append(told)
            progress.advance(1)
    return sent, failed


def _sources(folder: Path, files: Iterable[Path]) -> list[Source]:
    from deploy.uploads import Source

    return [Source(file.relative_to(folder).as_posix(), file) for file in files]


def _store(asked: argparse.Namespace) -> Load:
    from training.stores.store import CARD, Store

    Store.open(asked.folder)  # raises for what is none
    files = sorted(file for file in asked.folder.rglob("*") if file.is_file() and file.suffix != ".new")
    then = "training/run.py pretrain {name} --run NAME --on sagemaker"
    (card,) = _sources(asked.folder, [asked.folder / CARD])
    return Load("stores", _sources(asked.folder, (file for file in files if file.name != CARD)), then, card)


def _bands(asked: argparse.Namespace) -> Load:
    return _stacked(asked) if asked.stacked else _apart(asked)


def _apart(asked: argparse.Namespace) -> Load:
    from training.stores.stacking import band_files

    files = list(band_files(asked.folder, asked.bands))
    labels = {found for file in files for found in file.parent.glob("*_labels_metadata.json")}
    then = "training/run.py prepare bigearthnet-v1 {prefix} --out NAME --on sagemaker"
    return Load("tiles", _sources(asked.folder, [*files, *sorted(labels)]), then)


def _stacked(asked: argparse.Namespace) -> Load:
    from deploy.uploads import Source
    from training.stores.stacking import patch_folders, stack

    folders = patch_folders(asked.folder, asked.bands)
    sources = [Source(f"{patch.name}.tif", partial(stack, patch, asked.bands)) for patch in folders]
    return Load("tiles", sources, "python -m deploy transform {prefix}")
