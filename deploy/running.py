"""Jobs by name, of any kind: which there are, how they stand, and how they are stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from deploy.account import Account
from deploy.errors import DeployError, missing_is_fine

UNDER_WAY, ENDED = ("InProgress", "Stopping"), ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Kind:
    """A kind of job, as the API names it."""

    name: str  #: Training | Processing | Transform

    @property
    def word(self) -> str:
        """As the names of boto3's calls have it."""
        return f"{self.name.lower()}_job"

    @property
    def key(self) -> str:
        """Of a job's name in requests and answers."""
        return f"{self.name}JobName"

    @property
    def group(self) -> str:
        """Of its logs in CloudWatch; the namespace of its hosts' metrics, too."""
        return f"/aws/sagemaker/{self.name}Jobs"

    def status(self, said: Any) -> str:
        """From what a description or a listing says."""
        return str(said[f"{self.name}JobStatus"])

    def instances(self, said: Any) -> int:
        """On how many machines it runs, from what a description says."""
        resources = said.get("ResourceConfig") or said.get("TransformResources")
        resources = resources or said["ProcessingResources"]["ClusterConfig"]
        return sum(group["InstanceCount"] for group in resources.get("InstanceGroups") or [resources])


TRAINING, PROCESSING, TRANSFORM = Kind("Training"), Kind("Processing"), Kind("Transform")
KINDS = (TRAINING, PROCESSING, TRANSFORM)


def described(account: Account, kind: Kind, name: str) -> Any:
    """What the description of a job says; None where there is no such job."""
    with missing_is_fine():
        return getattr(account.client("sagemaker"), f"describe_{kind.word}")(**{kind.key: name})
    return None


def kind_of(account: Account, name: str) -> Kind:
    """Raises DeployError not_found."""
    for kind in KINDS:
        if described(account, kind, name) is not None:
            return kind
    detail = f"There is no training, processing or transform job {name} in {account.region}: check name and region."
    raise DeployError("not_found", detail)


def beginning(account: Account, kind: Kind, prefix: str) -> Iterator[tuple[str, str]]:
    """Names and statuses of the jobs whose names begin so, newest first."""
    pages = account.client("sagemaker").get_paginator(f"list_{kind.word}s")
    for page in pages.paginate(NameContains=prefix, SortBy="CreationTime", SortOrder="Descending"):
        for job in page[f"{kind.name}JobSummaries"]:
            if job[kind.key].startswith(prefix):
                yield job[kind.key], kind.status(job)


def stop(account: Account, name: str) -> str:
    """Has a job stop, and says how it stood before. One that has ended stays as it is. Raises DeployError not_found."""
    kind = kind_of(account, name)
    before = kind.status(described(account, kind, name))
    if before == "InProgress":
        getattr(account.client("sagemaker"), f"stop_{kind.word}")(**{kind.key: name})
    return before
