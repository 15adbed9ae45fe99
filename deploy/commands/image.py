"""image: the container, to where SageMaker finds it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from deploy.commands.arguments import account, command
from deploy.container.builder import NAMES, Builder

if TYPE_CHECKING:
    from deploy.account import Account

TOLD = "builds the container of this checkout and pushes it to the stack's repository, if it is not there"
LATEST = "latest"  # what other commands take


def add(commands: Any) -> None:
    """Its command line."""
    image = command(commands, "image", TOLD, carry_out)
    image.add_argument("--tag", help="beside latest; if not said, the commit, and for a GPU -gpu after it")
    image.add_argument("--target", default="cpu", choices=("cpu", "gpu"), help="what it is to serve on")
    image.add_argument("--builder", default="docker", choices=NAMES, help="what builds")


def carry_out(asked: argparse.Namespace) -> int:
    """Builds, pushes unless the repository has it, and lets `latest` name it."""
    from deploy.container.source import checkout, state

    folder, where = checkout(), account(asked)
    commit = state(folder)
    tag = asked.tag or (commit if asked.target == "cpu" else f"{commit}-{asked.target}")
    address = f"{where.outputs['Repository']}:{tag}"
    builder = Builder.find(asked.builder, where.dry_run)
    identity = builder.build(folder, address, {"org.opencontainers.image.revision": commit}, asked.target)
    digest = _deliver(where, builder, address, identity)
    if not where.dry_run:
        print(f"{address}\n{digest}")
        print("Next: python -m deploy endpoint")
    return 0


def _deliver(where: Account, builder: Builder, address: str, identity: str) -> str:
    """The digest under which the repository keeps the image."""
    from deploy.container.registry import Registry
    from deploy.errors import DeployError

    repository, _, tag = address.rpartition(":")
    host, _, name = repository.partition("/")
    registry = Registry(where.client("ecr"), name)
    kept = registry.find(tag)
    if kept is not None and kept.is_built_as(identity):
        print(f"{tag} is there already: nothing to push", file=sys.stderr)
    else:
        builder.sign_in(host, *registry.credentials())
        builder.push(address)
    if where.dry_run:
        return ""
    if (pushed := registry.find(tag)) is None:
        raise DeployError("not_pushed", f"The repository {name} has no image {tag} after the push; run this again.")
    image = registry.give(tag, registry.readable(pushed))
    return registry.give(LATEST, image).digest
