"""All kinds of things that a stack may have, and all that are there now."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from deploy.account import Account
from deploy.inventory import hosting, jobs, kept
from deploy.inventory.found import Found

Listing = Callable[[Account], Iterator[Found]]
Inventory = Mapping[str, list[Found]]

#: what serves, runs or is kept for later
SHOWN: dict[str, Listing] = {
    "stack": kept.stack,
    "bucket": kept.bucket,
    "images": kept.images,
    "model packages": kept.model_packages,
    "models": hosting.models,
    "endpoints": hosting.endpoints,
    "scaling targets": hosting.scaling_targets,
    "running jobs": jobs.running,
}
#: what can be removed
REMOVABLE: dict[str, Listing] = SHOWN | {
    "alarms": hosting.alarms,
    "endpoint configs": hosting.endpoint_configs,
    "model package groups": kept.model_package_groups,
    "log groups": hosting.log_groups,
    "log streams": jobs.log_streams,
    "finished jobs": jobs.finished,
}


def take(account: Account, kinds: Mapping[str, Listing]) -> Inventory:
    """What there is of each kind, kinds without any left out."""
    found = {kind: list(listing(account)) for kind, listing in kinds.items()}
    return {kind: things for kind, things in found.items() if things}
