"""`endpoint`: a model behind an address that answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.commands import arguments
from deploy.errors import DeployError

if TYPE_CHECKING:
    from deploy.account import Account
    from deploy.parts import Config
    from deploy.registry import ModelPackage

#: options that say how it is hosted → kinds that have them
HOSTING = {
    "kind": ("realtime", "async", "serverless"),
    "instance_type": ("realtime", "async"),
    "instances": ("realtime", "async"),
    "memory_mb": ("serverless",),
    "concurrency": ("async", "serverless"),
    "manifests": ("realtime", "async"),
}


def add(commands: Any) -> None:
    """Adds the command to those of `python -m deploy`."""
    about = "register an artifact and have an endpoint serve it; one that is there is updated, and told nothing about "
    about += "how it is hosted, it stays hosted as it is"
    command = arguments.command(commands, "endpoint", about, carry_out)
    add_model(command, "artifact", nargs="?")
    command.add_argument("--name", help="of the endpoint, if not that of the stack; begins with it")
    unsaid: dict[str, Any] = {"default": argparse.SUPPRESS}
    command.add_argument(
        "--kind", choices=HOSTING["kind"], **unsaid,
        help="realtime: answers within 60 s, 25 MB a request; async: from a queue, 1 GB, no instance while it is "
        "empty; serverless: 4 MB, no network isolation (default: realtime)",
    )  # fmt: skip
    command.add_argument("--instance-type", help="of realtime and async (default: ml.c7i.xlarge)", **unsaid)
    command.add_argument(
        "--instances", type=between, metavar="MIN..MAX",
        help="of realtime (default: 1) and async (default: 0..1), between which it scales by load", **unsaid,
    )  # fmt: skip
    command.add_argument(
        "--memory", type=int, dest="memory_mb", help="of serverless, MB: 1024 to 6144 (default: 4096)", **unsaid
    )
    command.add_argument(
        "--concurrency", type=int, help="requests at a time on an async instance (default: 4), of serverless in all "
        "(default: 5)", **unsaid,
    )  # fmt: skip
    command.add_argument(
        "--manifests", nargs="+", metavar="S3_PREFIX",
        help="requests may name objects under these prefixes; the containers then have a network", **unsaid,
    )  # fmt: skip


def add_model(command: argparse.ArgumentParser, name: str, **how: Any) -> None:
    """Which model, and in what image."""
    from deploy.repository import TAG

    command.add_argument(
        name, metavar="ARTIFACT", **how,
        help="a folder, or s3://… of a model.tar.gz: registered as approved (default: the newest approved version)",
    )  # fmt: skip
    command.add_argument("--image", default=TAG, metavar="TAG", help="of the stack's repository")


def carry_out(asked: argparse.Namespace) -> int:
    """Does what was asked and returns the exit code."""
    from deploy import endpoints

    account, config = arguments.account(asked), hosted(asked)
    model = chosen(account, asked.artifact, asked.image)
    endpoint = endpoints.put(account, asked.name or account.stack, model, config)
    did = "would serve" if account.dry_run else "serves"
    print(f"{endpoint.name} ({endpoint.kind}) {did} version {model.version}, sha256 {model.sha256}")
    if not endpoint.changed:
        print("everything was as asked: nothing is changed", file=sys.stderr)
    return 0


def chosen(account: Account, artifact: str | None, tag: str) -> ModelPackage:
    """The version of the registry that is meant; what is named is registered as approved, for who deploys approves."""
    from deploy import registry, repository

    image = repository.image(account, tag)
    if artifact is None:
        return registry.latest(account, image)
    source = artifact if artifact.startswith("s3://") else Path(artifact)
    return registry.register(account, source, image, approved=True)


def hosted(asked: argparse.Namespace) -> Config | None:
    """How it is to be hosted, None where nothing was said of it. Raises DeployError for what its kind has not."""
    from deploy.hosting import Asynchronous, RealTime, Serverless
    from deploy.parts import Config

    said = {name: value for name, value in vars(asked).items() if name in HOSTING}
    if not said:
        return None
    kind, manifests = said.pop("kind", "realtime"), said.pop("manifests", ())
    kinds = {"realtime": RealTime, "async": Asynchronous, "serverless": Serverless}
    refused = [name for name in said if kind not in HOSTING[name]]
    if manifests and kind not in HOSTING["manifests"]:
        refused.append("manifests")
    if refused:
        options = ", ".join(f"--{name.removesuffix('_mb').replace('_', '-')}" for name in refused)
        raise DeployError("bad_option", f"An endpoint of kind {kind} has no {options}.")
    return Config(kinds[kind](**said), tuple(manifests))


def between(text: str) -> tuple[int, int]:
    """MIN..MAX, or one number that is both."""
    fewest, dots, most = text.partition("..")
    return int(fewest), int(most if dots else fewest)
