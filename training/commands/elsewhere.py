"""A command that runs on SageMaker: checked before it costs anything, started or found again, followed to its end."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from training import outside
from training.commands import account, placement, pretrain
from training.inside import SERVED, SERVED_CHANNEL, Typed
from training.outside import Order

if TYPE_CHECKING:
    from deploy.account import Account
    from deploy.job_requests import Machines, Request
    from deploy.running import Kind

ONCE = ("prepare", "pretrain")  #: whose ended job has done all there is to do
BEGINS = ("pretrain", "refresh")  #: which begin a run


def carry_out(command: str, asked: argparse.Namespace, typed: Typed) -> int:
    """Does on SageMaker what was asked, and returns the exit code."""
    travelling = {name: value for name, value in typed.items() if name not in placement.OPTIONS}

    def work(own: Account) -> int:
        order = _order(command, asked, travelling, own.bucket)
        require(own, order, asked)
        if command == "refresh":
            from training.commands import renewal

            return renewal.carry_out(own, order, asked)
        name, code = run(own, order, asked)
        return code if name is None else _done(own, order, name)

    return account.within(asked, work)


def _order(command: str, asked: argparse.Namespace, typed: Typed, bucket: str) -> Order:
    word = command.split()[0]
    if word == "prepare":
        return outside.preparation(command, typed)
    if word == "report" and "--stores" not in typed:
        raise ValueError("say --stores: a job has no others than those that are named")
    for option in ("--out", "--model-dir", "--predictions"):
        if option in typed:
            raise ValueError(f"{option} is for this machine; on SageMaker the run is kept in S3, under runs/")
    order = outside.training(command, typed, bucket, lambda store: f"{store}-{pretrain.learning(asked)['backbone']}")
    if word == "refresh":
        order.typed.pop("--accept", None)  # for the caller to decide
        order.typed["--model-dir"] = str(SERVED)
    return order


def require(own: Account, order: Order, asked: argparse.Namespace) -> None:
    """Finds out at no cost what a job would find out late: that a store is missing, or the run another one's."""
    from deploy import storage
    from deploy.errors import DeployError
    from deploy.storage import Address

    s3 = own.client("s3")
    for store in order.stores:
        if storage.head(s3, Address.parse(f"{store}store.json")) is None:
            detail = f"{store} holds no store: `training/run.py upload store DIR` sends one, `prepare` makes one."
            raise DeployError("no_store", detail)
    if order.command.startswith("prepare"):
        _require_own(own, order, asked)
        return
    run = Address(own.bucket, f"runs/{order.name}/")
    begun = storage.head(s3, run / "config.json") is not None
    if order.command in BEGINS:
        if begun:
            _require_same(json.loads(storage.read(s3, run / "config.json")), order, asked)
        elif storage.head(s3, run / "refresh.json") is None and next(storage.listing(s3, run), None):
            raise DeployError("in_use", f"{run} holds something else than a run: choose another --run.")
    elif not _is_there(own, order):
        raise DeployError("no_run", f"{run} holds no pretrained run: pretrain with this --run first.")
    if getattr(asked, "backend", "") == "smddp" and placement.said(asked, "image") is None:
        detail = "SageMaker's current images lack SMDDP: say --image of one up to torch 2.4, and ml.p4d.24xlarge."
        raise DeployError("no_smddp", detail)


def _require_own(own: Account, order: Order, asked: argparse.Namespace) -> None:
    """A store is made anew by nothing but what made it."""
    from deploy import job_requests, running
    from deploy.errors import DeployError

    if not _is_there(own, order):
        return
    request, kind = request_for(order, asked)
    made = running.beginning(own, kind, job_requests.run_prefix(own, order.name))
    last = next((name for name, status in made if status == "Completed"), "")
    if not last.startswith(f"{job_requests.base_name(own, request)}-"):
        detail = f"s3://{own.bucket}/stores/{order.name}/ holds another store: choose another --out."
        raise DeployError("in_use", detail)


def _is_there(own: Account, order: Order) -> bool:
    """Whether the bucket holds the store that is made, or a run with a checkpoint."""
    from deploy import storage
    from deploy.storage import Address

    s3 = own.client("s3")
    if order.command.startswith("prepare"):
        return storage.head(s3, Address(own.bucket, f"stores/{order.name}/store.json")) is not None
    run = Address(own.bucket, f"runs/{order.name}/")
    kept = storage.listing(s3, run / "checkpoints")
    begun = storage.head(s3, run / "config.json") is not None
    return begun and any(stored.address.key.endswith(".safetensors") for stored in kept)


def _require_same(begun: dict[str, Any], order: Order, asked: argparse.Namespace) -> None:
    from deploy.errors import DeployError
    from training.runs import differences

    now = json.loads(json.dumps({**pretrain.learning(asked), "seed": asked.seed}))
    if said := differences(begun, now, now):
        raise DeployError(
            "other_run", f"The run {order.name} was begun with other options ({said}): say another --run."
        )


def run(own: Account, order: Order, asked: argparse.Namespace) -> tuple[str | None, int]:
    """Starts a job, or finds the one that was started for the same, and follows it.

    Returns its name once it has ended well, else None and the exit code.
    """
    from deploy import job_requests, jobs, running
    from deploy.errors import DeployError
    from training.commands import watch

    request, kind = request_for(order, asked)
    base = job_requests.base_name(own, request)
    found = list(running.beginning(own, kind, job_requests.run_prefix(own, order.name)))
    under_way = [name for name, status in found if status in running.UNDER_WAY]
    if others := [name for name in under_way if not name.startswith(f"{base}-")]:
        detail = f"The job {others[0]} is at work on {order.name}: wait for it (watch) or stop it first."
        raise DeployError("in_use", detail)
    name = next(iter(under_way), None)
    if name is None and request.command in ONCE and _is_there(own, order):
        name = _ended(found, base)
    if name is not None and own.dry_run:
        print(f"job {name} is at it or has done it: none would be started", file=sys.stderr)
        return None, 0
    if name is None:
        start = jobs.process if kind is running.PROCESSING else jobs.train
        name = start(own, request, machines(asked))
        if own.dry_run:
            return None, 0
    print(f"job {name}", flush=True)
    if placement.said(asked, "no_wait"):
        print(f"follow it with: training/run.py watch {name}{account.words(asked)}")
        return None, 0
    code = watch.follow(own, kind, name)
    return (name, 0) if code == 0 else (None, code)


def ended_well(own: Account, order: Order, asked: argparse.Namespace) -> list[str]:
    """Names of the training jobs for the same that came to their end, newest first."""
    from deploy import job_requests, running

    base = job_requests.base_name(own, request_for(order, asked)[0])
    found = running.beginning(own, running.TRAINING, f"{base}-")
    return [name for name, status in found if status == "Completed"]


def _ended(found: list[tuple[str, str]], base: str) -> str | None:
    """The newest job for the same, if it came to its end."""
    same = [(name, status) for name, status in found if name.startswith(f"{base}-")]
    return same[0][0] if same and same[0][1] == "Completed" else None


def request_for(order: Order, asked: argparse.Namespace) -> tuple[Request, Kind]:
    """What is asked for an order, and of which kind its job is."""
    from deploy import job_requests, running

    word = order.command.split()[0]
    if word == "prepare":
        return job_requests.Request(word, order.name, order.channels, line=order.line), running.PROCESSING
    smddp = getattr(asked, "backend", "") == "smddp"
    hyperparameters, passing = order.hyperparameters, (SERVED_CHANNEL,)
    request = job_requests.Request(word, order.name, order.channels, hyperparameters, smddp=smddp, passing=passing)
    return request, running.TRAINING


def machines(asked: argparse.Namespace) -> Machines:
    """Those that were asked for."""
    from deploy.job_requests import Machines

    kind = placement.said(asked, "instance_type") or asked.usual_instance_type
    rest = ("instance_count", "spot", "max_hours", "volume_gb", "image")
    return Machines(kind, **{name: placement.said(asked, name) for name in rest})


def _done(own: Account, order: Order, name: str) -> int:
    kind = "stores" if order.command.startswith("prepare") else "runs"
    print(f"{name} has ended; s3://{own.bucket}/{kind}/{order.name}/ holds its results")
    return 0
