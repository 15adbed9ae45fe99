"""The Model Registry: one group a stack, one version an artifact, found again by the artifact's SHA-256."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy import cards, packing, storage
from deploy.account import Account
from deploy.errors import DeployError
from deploy.storage import Address
from service.model.artifact import Artifact, load

ARCHIVE = "model.tar.gz"


@dataclass(frozen=True)
class ModelPackage:
    """A version in the registry, and the image that is to serve it."""

    arn: str
    sha256: str  #: of the artifact's model.json
    data_url: str  #: of its model.tar.gz
    image: str
    approved: bool

    @property
    def version(self) -> str:
        """Its number in the group."""
        return self.arn.rpartition("/")[2]


def register(account: Account, artifact: Path | str, image: str, *, approved: bool) -> ModelPackage:
    """The version of an artifact, made unless there is one; `artifact` is a folder, or s3://… of a model.tar.gz.

    One that was pending is approved where `approved`; none is ever disapproved here. Raises ArtifactError for what
    is no artifact, DeployError rejected where `approved` and a person rejected the version.
    """
    if isinstance(artifact, Path):
        return _register(account, load(artifact), image, approved)
    with tempfile.TemporaryDirectory() as folder:
        archive, source = Path(folder, ARCHIVE), Address.parse(artifact)
        account.client("s3").download_file(source.bucket, source.key, str(archive))
        packing.unpack(archive, Path(folder, "artifact"))
        return _register(account, load(Path(folder, "artifact")), image, approved)


def find(account: Account, sha256: str, image: str) -> ModelPackage | None:
    """The version of the artifact with this SHA-256, approved or not; None where there is none."""
    found = _find(account, sha256)
    return None if found is None else _package(found, image)


def approve(account: Account, package: ModelPackage) -> ModelPackage:
    """The same version, approved if it was pending. Raises DeployError rejected for one that a person rejected."""
    sagemaker = account.client("sagemaker")
    if package.approved:
        return package
    if sagemaker.describe_model_package(ModelPackageName=package.arn)["ModelApprovalStatus"] == "Rejected":
        detail = f"Version {package.version} of {account.stack}, which is this artifact, was rejected: approve it in "
        raise DeployError("rejected", f"{detail}the Model Registry first, or deploy another.")
    sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus="Approved")
    return replace(package, approved=True)


def latest(account: Account, image: str) -> ModelPackage:
    """The newest version that is approved. Raises DeployError no_model where there is none."""
    for said in _versions(account, ModelApprovalStatus="Approved"):
        return _package(account.client("sagemaker").describe_model_package(ModelPackageName=said), image)
    detail = f"No approved model is registered in the group {account.stack}: say the folder of an artifact."
    raise DeployError("no_model", detail)


def _register(account: Account, artifact: Artifact, image: str, approved: bool) -> ModelPackage:
    package = find(account, artifact.sha256, image)
    if package is None:
        _require_group(account)
        upload(account, artifact)
        made = account.client("sagemaker").create_model_package(**version_request(account, artifact, image, approved))
        return ModelPackage(made["ModelPackageArn"], artifact.sha256, str(_archive(account, artifact)), image, approved)
    return approve(account, package) if approved else package


def upload(account: Account, artifact: Artifact) -> None:
    """Puts model.tar.gz and metrics.json to where the artifact's SHA-256 says, unless they are there whole."""
    s3, archive = account.client("s3"), _archive(account, artifact)
    content = packing.pack(artifact)
    digest = hashlib.sha256(content).hexdigest()
    there = storage.head(s3, archive)
    if there is None or (there["ContentLength"], there["Metadata"].get("sha256")) != (len(content), digest):
        s3.put_object(
            Bucket=archive.bucket, Key=archive.key, Body=content, ContentType="application/gzip",
            Metadata={"sha256": digest}, ChecksumAlgorithm="SHA256",
        )  # fmt: skip
    storage.write(s3, _metrics(account, artifact), cards.metrics(artifact.manifest), "application/json")


def group_request(account: Account) -> dict[str, Any]:
    """Of CreateModelPackageGroup."""
    about = "Artifacts that turn overhead imagery into embeddings and land cover"
    return {
        "ModelPackageGroupName": account.stack,
        "ModelPackageGroupDescription": about,
        "Tags": account.tags,
    }


def version_request(account: Account, artifact: Artifact, image: str, approved: bool) -> dict[str, Any]:
    """Of CreateModelPackage. Versions have the tags of their group and may be given none."""
    manifest = artifact.manifest
    statistics = cards.metrics(manifest)
    return {
        "ModelPackageGroupName": account.stack,
        "ModelPackageDescription": f"{manifest.name} {manifest.version}",
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": str(_archive(account, artifact))}],
            "SupportedContentTypes": list(cards.CONTENT_TYPES),
            "SupportedResponseMIMETypes": list(cards.RESPONSE_TYPES),
        },
        "ModelApprovalStatus": "Approved" if approved else "PendingManualApproval",
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "ContentDigest": f"sha256:{hashlib.sha256(statistics).hexdigest()}",
                    "S3Uri": str(_metrics(account, artifact)),
                }
            }
        },
        "ModelCard": {
            "ModelCardContent": cards.card(artifact),
            "ModelCardStatus": "Approved" if approved else "PendingReview",
        },
        "CustomerMetadataProperties": cards.properties(artifact),
        "ClientToken": artifact.sha256[:36],  # asked again after a kill, it makes no second version
    }


def _archive(account: Account, artifact: Artifact) -> Address:
    return Address(account.bucket, f"models/{artifact.sha256}/{ARCHIVE}")


def _metrics(account: Account, artifact: Artifact) -> Address:
    return Address(account.bucket, f"models/{artifact.sha256}/metrics.json")


def _require_group(account: Account) -> None:
    from botocore.exceptions import ClientError

    sagemaker = account.client("sagemaker")
    try:
        sagemaker.describe_model_package_group(ModelPackageGroupName=account.stack)
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        sagemaker.create_model_package_group(**group_request(account))


def _find(account: Account, sha256: str) -> Any:
    sagemaker = account.client("sagemaker")
    for arn in _versions(account):
        said = sagemaker.describe_model_package(ModelPackageName=arn)
        if said.get("CustomerMetadataProperties", {}).get("sha256") == sha256:
            return said
    return None


def _versions(account: Account, **wanted: str) -> Iterator[str]:
    """Newest first; none where the group is not there yet."""
    from botocore.exceptions import ClientError

    pages = account.client("sagemaker").get_paginator("list_model_packages")
    try:
        for page in pages.paginate(
            ModelPackageGroupName=account.stack, SortBy="CreationTime", SortOrder="Descending", **wanted
        ):
            for found in page["ModelPackageSummaryList"]:
                yield found["ModelPackageArn"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise


def _package(said: Any, image: str) -> ModelPackage:
    (container,) = said["InferenceSpecification"]["Containers"]
    return ModelPackage(
        said["ModelPackageArn"],
        said.get("CustomerMetadataProperties", {}).get("sha256", ""),
        container["ModelDataUrl"],
        image,
        said["ModelApprovalStatus"] == "Approved",
    )
