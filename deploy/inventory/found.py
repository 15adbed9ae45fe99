"""One thing that exists, and what says that it belongs to the stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.account import TAG, Account


@dataclass(frozen=True)
class Found:
    """A thing with the name that its API knows it by. Facts are for people and, as JSON, for machines."""

    name: str
    arn: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def has_name(account: Account, name: str) -> bool:
    """Whether a name is one that commands give in this stack."""
    return name == account.stack or name.startswith(f"{account.stack}-")


def has_tag(account: Account, tags: list[dict[str, str]] | Mapping[str, str]) -> bool:
    """Whether tags, in either of the two forms that APIs tell them, say that a thing is the stack's."""
    if isinstance(tags, Mapping):
        return tags.get(TAG) == account.stack
    return {"Key": TAG, "Value": account.stack} in tags


def is_ours(account: Account, sagemaker: Any, arn: str) -> bool:
    """Whether a resource of SageMaker has the stack's tag."""
    pages = sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn)
    return any(has_tag(account, page["Tags"]) for page in pages)


def of_sagemaker(account: Account, plural: str, **asked: Any) -> Iterator[dict[str, Any]]:
    """Summaries of the stack's resources of a kind, such as "endpoints", by name and tag.

    With `name` and `arn` beside what SageMaker says.
    """
    sagemaker = account.client("sagemaker")
    operation = sagemaker.get_paginator(f"list_{plural}")
    kind = "".join(word.capitalize() for word in plural.removesuffix("s").split("_"))
    for page in operation.paginate(NameContains=account.stack, **asked):
        for summary in next((value for value in page.values() if isinstance(value, list)), []):
            name, arn = summary[f"{kind}Name"], summary[f"{kind}Arn"]
            if has_name(account, name) and is_ours(account, sagemaker, arn):
                yield summary | {"name": name, "arn": arn}
