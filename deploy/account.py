"""The account that commands work in: its session, its region, and the stack that `setup` made there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from deploy.calls import hold_back
from deploy.errors import DeployError

STACK = "aerial-featurizer"
LONGEST_STACK = 23  # characters, so that the name of a job, which begins with it, has at most 63
TAG = "aerial-featurizer:stack"
OUTPUTS = ("Bucket", "Repository", "ServingRole", "TrainingRole")  #: of the stack


@dataclass(frozen=True)
class Account:
    """An account and region as one stack's owner sees them."""

    session: Any  #: boto3's
    stack: str = STACK
    dry_run: bool = False
    _clients: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, stack: str = STACK, region: str | None = None, dry_run: bool = False) -> Account:
        """With the credentials and the region that boto3 finds, unless one is said.

        Under `dry_run` calls that change something are printed, one JSON object a line, and not sent. Raises
        DeployError no_region.
        """
        import boto3

        session = boto3.Session(region_name=region)
        if session.region_name is None:
            raise DeployError("no_region", "No region is set: say --region, or set AWS_DEFAULT_REGION.")
        if dry_run:
            hold_back(session, lambda call: print(json.dumps(call), flush=True))
        return cls(session, stack, dry_run)

    @property
    def region(self) -> str:
        """Such as eu-central-1."""
        return str(self.session.region_name)

    def client(self, service: str) -> Any:
        """boto3's client of a service, made once: reading a service's model takes longer than most calls."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service)
        return self._clients[service]

    @cached_property
    def number(self) -> str:
        """Twelve digits."""
        return str(self.client("sts").get_caller_identity()["Account"])

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """What the stack made, by the names in OUTPUTS. Raises DeployError no_stack before `setup`."""
        from botocore.exceptions import ClientError

        try:
            (found,) = self.client("cloudformation").describe_stacks(StackName=self.stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            detail = f"There is no stack {self.stack} in {self.region}: run `python -m deploy setup` first."
            raise DeployError("no_stack", detail) from None
        outputs = {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", ())}
        if missing := [name for name in OUTPUTS if name not in outputs]:
            detail = (
                f"The stack {self.stack} is {found['StackStatus']} and lacks {', '.join(missing)}: run setup again."
            )
            raise DeployError("no_stack", detail)
        return outputs

    @property
    def bucket(self) -> str:
        """Name of the stack's bucket."""
        return self.outputs["Bucket"]

    @property
    def tags(self) -> list[dict[str, str]]:
        """On everything that commands make, so that `status` and `teardown` find it."""
        return [{"Key": TAG, "Value": self.stack}]
