"""`refresh --on sagemaker`: what is trained and judged in a job becomes a version in the registry, and is served.

Nothing is kept here: which job was for what, which version is of what artifact, and what the endpoint serves are found
on AWS. So it can be killed anywhere and called again, and called twice it does nothing twice.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from training.commands import elsewhere
from training.inside import REFUSED, SERVED_CHANNEL
from training.outside import Order

if TYPE_CHECKING:
    from deploy.account import Account


def carry_out(account: Account, order: Order, asked: argparse.Namespace) -> int:
    """Trains and judges in a job, registers, serves. Returns the exit code."""
    from deploy import endpoints, registry, repository

    image = repository.image(account)  # what it is to be served in must be there before anything is paid for
    endpoint, served = _served(account, asked)
    verdict = _verdict(account, order, asked, served, image)
    if isinstance(verdict, int):
        return verdict
    told = sys.stderr if account.dry_run else sys.stdout  # where a dry run has nothing but requests
    print(f"gate: {verdict['reason']}", file=told)
    if not verdict["passed"] and not asked.accept:
        print(
            "refused: nothing is registered, and what is served stays. --accept takes it all the same", file=sys.stderr
        )
        return REFUSED
    known = registry.find(account, verdict["candidate"], image)
    package = (
        registry.register(account, verdict["archive"], image, approved=True)
        if known is None
        else registry.approve(account, known)
    )
    registered = "would be registered" if account.dry_run and known is None else "registered"
    print(f"{registered}: {package.arn}, sha256 {package.sha256}", file=told)
    if endpoint is None:
        print(f"there is no endpoint {account.stack}: `python -m deploy endpoint` makes one that serves it", file=told)
        return 0
    put = endpoints.put(account, endpoint, package)
    serves = "would serve" if account.dry_run and put.changed else "serves"
    print(f"endpoint {put.name}: {serves} {package.arn}" + ("" if put.changed else ", as it did"), file=told)
    return 0


def _served(account: Account, asked: argparse.Namespace) -> tuple[str | None, str | None]:
    """The endpoint, and s3://… of the model.tar.gz behind it; None for what there is not.

    Raises DeployError for an endpoint that could not be changed in the end.
    """
    from deploy import endpoints
    from deploy.errors import DeployError

    name = getattr(asked, "endpoint", None)
    endpoints.require_name(account, name or account.stack)
    said = endpoints.settled(account, name or account.stack)
    if not said or "EndpointConfigName" not in said:
        if name is not None:
            detail = f"There is no endpoint {name} in {account.region}: `python -m deploy endpoint --name {name}`."
            raise DeployError("not_found", detail)
        return None, None
    sagemaker = account.client("sagemaker")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=said["EndpointConfigName"])
    if len(variants := config["ProductionVariants"]) != 1:
        detail = f"The endpoint {said['EndpointName']} has {len(variants)} variants, not one: say another --endpoint."
        raise DeployError("several_variants", detail)
    endpoints.current(account, said["EndpointName"])
    model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
    return name or account.stack, model["PrimaryContainer"]["ModelDataUrl"]


def _verdict(
    account: Account, order: Order, asked: argparse.Namespace, served: str | None, image: str
) -> dict[str, Any] | int:
    """What the job's gate said of the candidate against what is served now, and where the candidate's archive is."""
    from deploy import running

    if served is not None:
        order.channels[SERVED_CHANNEL] = served
    for name in elsewhere.ended_well(account, order, asked)[:1]:  # whose verdict it is
        found = _told(account, order, running.described(account, running.TRAINING, name))
        if found and _holds(found, served) and _is_kept(account, found, image):
            print(f"job {name} has done it", file=sys.stderr if account.dry_run else sys.stdout)
            return found
    made, code = elsewhere.run(account, order, asked)
    if made is None:
        return code
    found = _told(account, order, running.described(account, running.TRAINING, made))
    if found is None:
        print(f"{made} has left no verdict in runs/{order.name}/gate.json", file=sys.stderr)
        return 1
    return found


def _told(account: Account, order: Order, job: Any) -> dict[str, Any] | None:
    from deploy import storage
    from deploy.storage import Address

    file = Address(account.bucket, f"runs/{order.name}/gate.json")
    if storage.head(account.client("s3"), file) is None:
        return None
    told = json.loads(storage.read(account.client("s3"), file))
    return {**told, "archive": job["ModelArtifacts"]["S3ModelArtifacts"]}


def _is_kept(account: Account, verdict: dict[str, Any], image: str) -> bool:
    """Whether the candidate is in the registry, or still where the job left it: below jobs/ things expire."""
    from deploy import registry, storage
    from deploy.storage import Address

    if registry.find(account, verdict["candidate"], image) is not None:
        return True
    return storage.head(account.client("s3"), Address.parse(verdict["archive"])) is not None


def _holds(verdict: dict[str, Any], served: str | None) -> bool:
    """Whether a verdict is about what is served now, or has been carried out: then the candidate is what is served."""
    sha256 = served.rsplit("/", 2)[1] if served else None
    return sha256 in (verdict["served"], verdict["candidate"])
