"""What was kept is deleted: versions, images, logs, jobs, objects, and the stack last."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from deploy.account import Account
from deploy.errors import DeployError, missing_is_fine
from deploy.inventory.found import Found
from deploy.inventory.kept import bucket_name, model_packages
from deploy.stack import formation
from deploy.waiting import until

IMAGES_A_CALL = 100
OBJECTS_A_CALL, TELL_EVERY_PAGES = 1000, 10


def remove_model_packages(account: Account, found: Sequence[Found]) -> None:
    """Versions go in the background, and a group must be empty: waits."""
    for package in found:
        with missing_is_fine():
            account.client("sagemaker").delete_model_package(ModelPackageName=package.arn)
    if not account.dry_run:
        until("Model packages", lambda: f"{len(list(model_packages(account)))} left", ("0 left",))


def remove_model_package_groups(account: Account, found: Sequence[Found]) -> None:
    """Empty ones."""
    for group in found:
        with missing_is_fine():
            account.client("sagemaker").delete_model_package_group(ModelPackageGroupName=group.name)


def remove_images(account: Account, found: Sequence[Found]) -> None:
    """By digest, which takes all tags with it."""
    repository = found[0].name.partition("@")[0]
    digests = [{"imageDigest": image.name.partition("@")[2]} for image in found]
    for start in range(0, len(digests), IMAGES_A_CALL):
        said = account.client("ecr").batch_delete_image(
            repositoryName=repository, imageIds=digests[start : start + IMAGES_A_CALL]
        )
        _require_none("images", [one for one in said.get("failures", ()) if one["failureCode"] != "ImageNotFound"])


def remove_log_groups(account: Account, found: Sequence[Found]) -> None:
    """Of endpoints."""
    for group in found:
        with missing_is_fine():
            account.client("logs").delete_log_group(logGroupName=group.name)


def remove_log_streams(account: Account, found: Sequence[Found]) -> None:
    """Of jobs; their groups stay, as other people's jobs write there too."""
    for stream in found:
        with missing_is_fine():
            account.client("logs").delete_log_stream(logGroupName=stream.facts["group"], logStreamName=stream.name)


def remove_jobs(account: Account, found: Sequence[Found]) -> None:
    """What SageMaker remembers of them."""
    sagemaker = account.client("sagemaker")
    for job in found:
        kind = job.facts["kind"]
        with missing_is_fine():
            getattr(sagemaker, f"delete_{kind}_job")(**{f"{kind.capitalize()}JobName": job.name})


def remove_stack(account: Account, _: Sequence[Found]) -> None:
    """Empties the bucket, which CloudFormation would not delete otherwise, then deletes the stack."""
    if (bucket := bucket_name(account)) is not None:
        empty(account.client("s3"), bucket)
    formation.delete(account)


def empty(s3: Any, bucket: str) -> None:
    """Deletes every object with all its versions, and what was uploaded in parts and never finished."""
    before: list[dict[str, str]] = []
    for number, page in enumerate(s3.get_paginator("list_object_versions").paginate(Bucket=bucket)):
        _delete(s3, bucket, before)  # a page late: listing goes on after an object that is still there
        found = (said for kind in ("Versions", "DeleteMarkers") for said in page.get(kind, ()))
        before = [{"Key": said["Key"], "VersionId": said["VersionId"]} for said in found]
        if number and number % TELL_EVERY_PAGES == 0:
            print(f"  {number * OBJECTS_A_CALL:,} objects", file=sys.stderr, flush=True)
    _delete(s3, bucket, before)
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", ()):
            with missing_is_fine():
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _delete(s3: Any, bucket: str, objects: Sequence[dict[str, str]]) -> None:
    if objects:
        said = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        _require_none("objects", said.get("Errors"))


def _require_none(what: str, failures: Sequence[Any] | None) -> None:
    if failures:
        raise DeployError("not_removed", f"{len(failures)} {what} could not be deleted; the first: {failures[0]}.")
