"""What is removed after what. Each kind is listed anew when its turn comes, so that an interrupted teardown goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from deploy.account import Account
from deploy.inventory.found import Found
from deploy.inventory.taken import REMOVABLE
from deploy.teardown import kept, serving

Removal = Callable[[Account, Sequence[Found]], None]

#: Log streams go before the jobs and log groups are marked before the endpoints that say whose they are.
ORDER: tuple[tuple[str, Removal], ...] = (
    ("running jobs", serving.stop_jobs),
    ("scaling targets", serving.remove_scaling),
    ("alarms", serving.remove_alarms),
    ("log groups", serving.mark_log_groups),
    ("endpoints", serving.remove_endpoints),
    ("endpoint configs", serving.remove_endpoint_configs),
    ("models", serving.remove_models),
    ("model packages", kept.remove_model_packages),
    ("model package groups", kept.remove_model_package_groups),
    ("images", kept.remove_images),
    ("log groups", kept.remove_log_groups),
    ("log streams", kept.remove_log_streams),
    ("finished jobs", kept.remove_jobs),
    ("stack", kept.remove_stack),
)


def remove(account: Account) -> None:
    """Removes all; under a dry run the calls are told only."""
    for kind, removal in ORDER:
        if found := list(REMOVABLE[kind](account)):
            print(f"{kind}: {len(found)}", file=sys.stderr, flush=True)
            removal(account, found)
