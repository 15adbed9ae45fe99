"""The model registry: groups, and versions in them."""

from __future__ import annotations

import time

from tests.sagemaker.api import Refused
from tests.sagemaker.resources import Record, Shelf


class Registry:
    """Calls on versions, and on groups as far as they are more than names."""

    def __init__(self, groups: Shelf, packages: Shelf) -> None:
        self.groups, self.packages = groups, packages

    def create_model_package_group(self, request: Record) -> Record:
        return self.groups.create(request, ModelPackageGroupStatus="Completed")

    def delete_model_package_group(self, request: Record) -> None:
        name = request["ModelPackageGroupName"]
        if self._versions(name):
            arn = self.groups.kind.arn(name)
            raise Refused("ConflictException", f"Model Package Group {arn} has undeleted ModelPackages")
        self.groups.delete(name)

    def create_model_package(self, request: Record) -> Record:
        """A new version of its group."""
        if "Tags" in request:
            raise Refused("ValidationException", "Tags of a versioned model package are those of its group")
        group = request["ModelPackageGroupName"].rsplit("/", 1)[-1]
        self.groups.find(group)
        version = 1 + max((package["ModelPackageVersion"] for package in self._versions(group)), default=0)
        return self.packages.create(
            {
                "ModelApprovalStatus": "PendingManualApproval",
                **request,
                "ModelPackageName": f"{group}/{version}",
                "ModelPackageGroupName": group,
            },
            ModelPackageVersion=version,
            ModelPackageStatus="Completed",
            ModelPackageStatusDetails={"ValidationStatuses": [], "ImageScanStatuses": []},
        )

    def describe_model_package(self, request: Record) -> Record:
        return self.packages.describe(_version(request["ModelPackageName"]))

    def delete_model_package(self, request: Record) -> None:
        self.packages.delete(_version(request["ModelPackageName"]))

    def update_model_package(self, request: Record) -> Record:
        request = dict(request)
        record = self.packages.find(_version(request.pop("ModelPackageArn")))
        removed = request.pop("CustomerMetadataPropertiesToRemove", [])
        more = {**record.get("CustomerMetadataProperties", {}), **request.pop("CustomerMetadataProperties", {})}
        kept = {key: value for key, value in more.items() if key not in removed}
        record.update(request, CustomerMetadataProperties=kept, LastModifiedTime=time.time())
        return {"ModelPackageArn": record["ModelPackageArn"]}

    def _versions(self, group: str) -> list[Record]:
        return [one for one in self.packages.records.values() if one["ModelPackageGroupName"] == group]


def _version(name: str) -> str:
    """group/7, of an ARN or of itself."""
    return name.rsplit(":model-package/", 1)[-1]
