"""Jobs: those that run, those that are over, and what they wrote to the logs."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.account import Account
from deploy.inventory.found import Found, of_sagemaker

KINDS = ("training", "processing", "transform")
RUNNING = ("InProgress", "Stopping")
LOGS = {
    "training": "/aws/sagemaker/TrainingJobs",
    "processing": "/aws/sagemaker/ProcessingJobs",
    "transform": "/aws/sagemaker/TransformJobs",
}


def running(account: Account) -> Iterator[Found]:
    """Jobs that cost by the hour now."""
    for kind in KINDS:
        for status in RUNNING:
            yield from _jobs(account, kind, StatusEquals=status)


def finished(account: Account) -> Iterator[Found]:
    """Jobs that are over; AWS can delete them."""
    for kind in ("training", "processing"):
        yield from (job for job in _jobs(account, kind) if job.facts["status"] not in RUNNING)


def history(account: Account) -> Iterator[Found]:
    """Transforms that are over: AWS has no call to delete them, and asks nothing for them."""
    yield from (job for job in _jobs(account, "transform") if job.facts["status"] not in RUNNING)


def log_streams(account: Account) -> Iterator[Found]:
    """Of the stack's jobs; their groups belong to everybody in the account."""
    logs = account.client("logs")
    for kind, group in LOGS.items():
        ours = {job.name for job in _jobs(account, kind)}
        try:
            for page in logs.get_paginator("describe_log_streams").paginate(
                logGroupName=group, logStreamNamePrefix=account.stack
            ):
                for said in page["logStreams"]:
                    if said["logStreamName"].split("/")[0] in ours:
                        yield Found(said["logStreamName"], said["arn"], {"group": group})
        except logs.exceptions.ResourceNotFoundException:
            continue  # no job of the kind ever ran in this account


def _jobs(account: Account, kind: str, **asked: str) -> Iterator[Found]:
    for said in of_sagemaker(account, f"{kind}_jobs", **asked):
        status = said[f"{kind.capitalize()}JobStatus"]
        yield Found(said["name"], said["arn"], {"kind": kind, "status": status, "since": said["CreationTime"]})
