"""What SageMaker keeps and tells again: created, described, listed, tagged and deleted by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sagemaker import api
from tests.sagemaker.api import Refused

Record = dict[str, Any]  # in the words of the Describe call


@dataclass(frozen=True)
class Kind:
    """A kind of resource: its name in the API, its part of an ARN, and how AWS says that one is missing or there."""

    name: str
    path: str
    missing: str
    existing: str
    existing_code: str = "ValidationException"

    def arn(self, name: str) -> str:
        return f"arn:aws:sagemaker:{api.REGION}:{api.ACCOUNT}:{self.path}/{name}"

    @property
    def status(self) -> str:
        return f"{self.name}Status"


def _job(name: str, missing: str) -> Kind:
    path = name.lower().replace("job", "-job")
    unique = "Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
    return Kind(name, path, missing, unique, "ResourceInUse")


MISSING = 'Could not find {what} "{arn}".'
EXISTING = 'Cannot create already existing {what} "{arn}".'


def _named(name: str, path: str, what: str) -> Kind:
    return Kind(name, path, MISSING.replace("{what}", what), EXISTING.replace("{what}", what))


TRAINING_JOB = _job("TrainingJob", "Requested resource not found.")
PROCESSING_JOB = _job("ProcessingJob", "Could not find requested job with name: {name}")
TRANSFORM_JOB = _job("TransformJob", "Could not find requested job with name: {name}")
MODEL = _named("Model", "model", "model")
ENDPOINT_CONFIG = _named("EndpointConfig", "endpoint-config", "endpoint configuration")
ENDPOINT = _named("Endpoint", "endpoint", "endpoint")
GROUP = Kind(
    "ModelPackageGroup",
    "model-package-group",
    "ModelPackageGroup {arn} does not exist.",
    "Model Package Group already exists: {arn}",
)
PACKAGE = Kind("ModelPackage", "model-package", "ModelPackage {arn} does not exist.", "already exists: {arn}")
KINDS = (TRAINING_JOB, PROCESSING_JOB, TRANSFORM_JOB, MODEL, ENDPOINT_CONFIG, ENDPOINT, GROUP, PACKAGE)


@dataclass
class Tags:
    """Tags by ARN, of all that is on a shelf."""

    of: dict[str, dict[str, str]] = field(default_factory=dict)

    def add(self, arn: str, tags: list[dict[str, str]]) -> None:
        self.of.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def listed(self, arn: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.of.get(arn, {}).items()]

    def remove(self, arn: str, keys: list[str]) -> None:
        for key in keys:
            self.of.get(arn, {}).pop(key, None)


@dataclass
class Shelf:
    """All resources of one kind."""

    kind: Kind
    tags: Tags
    records: dict[str, Record] = field(default_factory=dict)

    def find(self, name: str) -> Record:
        arn = self.kind.arn(name)
        if name not in self.records:
            raise Refused("ValidationException", self.kind.missing.format(name=name, arn=arn))
        return self.records[name]

    def create(self, request: Record, **more: Any) -> Record:
        """Keeps what was asked for, and answers with its ARN. Raises Refused where the name is taken."""
        name = request[f"{self.kind.name}Name"]
        arn = self.kind.arn(name)
        if name in self.records:
            raise Refused(self.kind.existing_code, self.kind.existing.format(name=name, arn=arn))
        now, told = time.time(), {f"{self.kind.name}Arn": arn}
        kept = {key: value for key, value in request.items() if key != "Tags"}
        self.records[name] = {**kept, "CreationTime": now, "LastModifiedTime": now, **more, **told}
        self.tags.add(arn, request.get("Tags", []))
        return told

    def delete(self, name: str) -> None:
        record = self.find(name)
        if record.get(self.kind.status) in {"InProgress", "Stopping"}:
            raise Refused("ResourceInUse", f"{name} has not ended")
        del self.records[name]
        self.tags.of.pop(record[f"{self.kind.name}Arn"], None)

    def describe(self, name: str) -> Record:
        return api.only(api.operation(f"Describe{self.kind.name}").output_shape, self.find(name))

    def list(self, asked: dict[str, Any]) -> Record:
        """A page, as the List call tells it: filtered, sorted, with a token for the next."""
        output = api.operation(f"List{self.kind.name}s").output_shape
        assert output is not None
        place, shape = next((name, shape) for name, shape in output.members.items() if shape.type_name == "list")
        found = sorted(
            (record for record in self.records.values() if self._is_asked_for(record, asked)),
            key=self._order(asked.get("SortBy", "CreationTime")),
            reverse=asked.get("SortOrder", "Descending") == "Descending",
        )
        start = int(asked.get("NextToken", 0))
        end = start + asked.get("MaxResults", 100)
        page = {place: [api.only(shape.member, record) for record in found[start:end]]}
        return page if end >= len(found) else {**page, "NextToken": str(end)}

    def _order(self, by: str) -> Callable[[Record], Any]:
        named = {"Name": f"{self.kind.name}Name", "Status": self.kind.status}
        return lambda record: record.get(named.get(by, by), "")

    def _is_asked_for(self, record: Record, asked: dict[str, Any]) -> bool:
        return all(_holds(record, self.kind, name, value) for name, value in asked.items())


def _holds(record: Record, kind: Kind, condition: str, value: Any) -> bool:
    if condition == "NameContains":
        return value in record[f"{kind.name}Name"]
    if condition == "StatusEquals":
        return bool(record[kind.status] == value)
    for ending, sign in (("After", 1), ("Before", -1)):
        if condition.endswith(ending):
            return sign * float(record[condition.removesuffix(ending)]) >= sign * float(value)
    if condition in {"ModelPackageGroupName", "ModelApprovalStatus"}:
        return bool(record.get(condition) == value.rsplit("/", 1)[-1])
    return True
