"""The stack is made, updated, deleted, and followed meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import takewhile
from typing import Any

from deploy.account import TAG, Account
from deploy.errors import DeployError
from deploy.waiting import until

WELL = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
UNUSABLE = ("REVIEW_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED")
STUCK = ("UPDATE_FAILED", "UPDATE_ROLLBACK_FAILED")
ENDED = (*WELL, *UNUSABLE, *STUCK, "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE")


def find(account: Account) -> Any:
    """What CloudFormation says of the stack, None where there is none.

    Raises DeployError not_ours if it has the name but not the tag.
    """
    from botocore.exceptions import ClientError

    try:
        (stack,) = account.client("cloudformation").describe_stacks(StackName=account.stack)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    if {"Key": TAG, "Value": account.stack} not in stack.get("Tags", ()):
        detail = f"There is a stack {account.stack} that `setup` did not make: choose another name with --stack-name."
        raise DeployError("not_ours", detail)
    return stack


def make(account: Account, parameters: Mapping[str, str | None]) -> None:
    """Creates or updates the stack, and waits for it; one that is already as it should be is left so.

    A parameter that is None keeps its value. A creation that fails leaves nothing. Raises DeployError stack_unusable,
    stack_failed, not_ours.
    """
    stack = _settled(account)
    if stack is None:
        changes = Changes(account, _create(account, parameters))
    else:
        _require_usable(account, stack["StackStatus"])
        changes = Changes.from_now(account, stack["StackId"])
        if not _update(account, parameters):
            print(f"Stack {account.stack}: as it should be", file=sys.stderr)
            return
    if not account.dry_run and (end := changes.follow()) not in WELL:
        after = "Nothing of it is left" if end == "DELETE_COMPLETE" else f"The stack is {end}"
        detail = (
            f"{changes.first_failure or 'CloudFormation says no reason.'} {after}; put this right and run it again."
        )
        raise DeployError("stack_failed", detail)


def delete(account: Account) -> None:
    """Deletes the stack with its roles, its repository and its bucket, which must be empty. Raises stack_failed."""
    stack = _settled(account)
    if stack is None:
        return
    changes = Changes.from_now(account, stack["StackId"])
    account.client("cloudformation").delete_stack(StackName=stack["StackId"])
    if not account.dry_run and changes.follow() != "DELETE_COMPLETE":
        raise DeployError("stack_failed", f"{changes.first_failure} Put this right and run teardown again.")


def _settled(account: Account) -> Any:
    """The stack, when nothing changes it any more: an earlier call may have been interrupted."""
    stack = find(account)
    if stack is None or stack["StackStatus"] in ENDED or account.dry_run:
        return stack
    Changes(account, stack["StackId"]).follow()
    return find(account)


def _require_usable(account: Account, status: str) -> None:
    if status in UNUSABLE:
        detail = f"A stack {account.stack} was left {status} and cannot be updated: run teardown, then setup again."
        raise DeployError("stack_unusable", detail)
    if status in STUCK:
        detail = (
            f"The stack {account.stack} is {status}: run `aws cloudformation continue-update-rollback --stack-name"
            f" {account.stack}`, then setup again."
        )
        raise DeployError("stack_unusable", detail)


def _create(account: Account, parameters: Mapping[str, str | None]) -> str:
    """The ARN of the stack that is being made; should it fail, CloudFormation deletes what it began."""
    created = account.client("cloudformation").create_stack(**_asked(account, parameters), OnFailure="DELETE")
    return str(created["StackId"])


def _update(account: Account, parameters: Mapping[str, str | None]) -> bool:
    """Whether there is anything to wait for."""
    from botocore.exceptions import ClientError

    asked = _asked(account, parameters)
    kept = [{"ParameterKey": key, "UsePreviousValue": True} for key, value in parameters.items() if value is None]
    asked["Parameters"] += kept
    try:
        account.client("cloudformation").update_stack(**asked)
    except ClientError as error:
        if "No updates are to be performed" not in str(error):
            raise
        return False
    return True


def _asked(account: Account, parameters: Mapping[str, str | None]) -> dict[str, Any]:
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items() if value is not None]
    return {
        "StackName": account.stack,
        "TemplateBody": (files("deploy.stack") / "template.yaml").read_text(encoding="utf-8"),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": given,
        "Tags": account.tags,
    }


@dataclass
class Changes:
    """The events of a stack, by its ARN: a deleted one is found by nothing else."""

    account: Account
    identity: str
    failures: list[str] = field(default_factory=list)
    _latest: str | None = None

    @classmethod
    def from_now(cls, account: Account, identity: str) -> Changes:
        """Without what was before."""
        changes = cls(account, identity)
        changes._new()
        return changes

    @property
    def first_failure(self) -> str:
        """What others were cancelled for; empty if nothing failed."""
        return self.failures[0] if self.failures else ""

    def follow(self) -> str:
        """Tells events as they come; the state in which the stack ends."""
        cloudformation = self.account.client("cloudformation")

        def look() -> str:
            (stack,) = cloudformation.describe_stacks(StackName=self.identity)["Stacks"]
            for event in self._new():
                self._tell(event)
            return str(stack["StackStatus"])

        return until(f"Stack {self.account.stack}", look, ENDED)

    def _new(self) -> list[Any]:
        """Events since the last look, the oldest first."""
        pages = self.account.client("cloudformation").get_paginator("describe_stack_events")
        events = (event for page in pages.paginate(StackName=self.identity) for event in page["StackEvents"])
        new = list(takewhile(lambda event: event["EventId"] != self._latest, events))
        self._latest = new[0]["EventId"] if new else self._latest
        return new[::-1]

    def _tell(self, event: Any) -> None:
        status, reason = event.get("ResourceStatus", ""), event.get("ResourceStatusReason", "")
        what = f"{event['LogicalResourceId']} ({event['ResourceType']})"
        print(f"  {what}: {status}{f', {reason}' if reason else ''}", file=sys.stderr, flush=True)
        if status.endswith("_FAILED") and "cancelled" not in reason.lower():
            self.failures.append(f"{what} failed: {reason.rstrip('. ')}.")
