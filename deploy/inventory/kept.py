"""What is kept: the stack itself, what is in its bucket and in its repository, and registered models."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from deploy.account import Account
from deploy.errors import missing_is_fine
from deploy.inventory.found import Found, has_tag, of_sagemaker
from deploy.stack import formation

TELL_EVERY = 100_000  # objects
UPLOADS = "uploads never finished"


def stack(account: Account) -> Iterator[Found]:
    """One, or none."""
    if (said := formation.find(account)) is not None:
        yield Found(account.stack, said["StackId"], {"status": said["StackStatus"], "since": said["CreationTime"]})


def bucket_name(account: Account) -> str | None:
    """The stack's bucket; None where it is not there, or is another's of the same name."""
    from botocore.exceptions import ClientError

    s3, name = account.client("s3"), _resource(account, "Bucket")
    if name is None:
        return None
    try:
        tags = s3.get_bucket_tagging(Bucket=name)["TagSet"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchTagSet", "NoSuchBucket"):
            raise
        return None
    return name if has_tag(account, tags) else None


def repository_name(account: Account) -> str | None:
    """The stack's repository; None where it is not there, or is another's of the same name."""
    ecr, name = account.client("ecr"), _resource(account, "Repository")
    with missing_is_fine():
        for said in ecr.describe_repositories(repositoryNames=[name])["repositories"] if name else ():
            if has_tag(account, ecr.list_tags_for_resource(resourceArn=said["repositoryArn"])["tags"]):
                return name
    return None


def _resource(account: Account, logical: str) -> str | None:
    if formation.find(account) is None:
        return None
    pages = account.client("cloudformation").get_paginator("list_stack_resources")
    for page in pages.paginate(StackName=account.stack):
        for said in page["StackResourceSummaries"]:
            if said["LogicalResourceId"] == logical:
                return said.get("PhysicalResourceId") or None
    return None


def bucket(account: Account) -> Iterator[Found]:
    """What is in the bucket, by the first part of its keys."""
    if (name := bucket_name(account)) is None:
        return
    s3 = account.client("s3")
    objects: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    seen = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        for said in page.get("Contents", ()):
            top, slash, _ = said["Key"].partition("/")
            objects[top + slash] += 1
            sizes[top + slash] += said["Size"]
            seen += 1
            if seen % TELL_EVERY == 0:
                print(f"Counted {seen:,} objects …", file=sys.stderr, flush=True)
    unfinished = s3.list_multipart_uploads(Bucket=name).get("Uploads", ())
    for top in sorted(objects):
        yield Found(f"s3://{name}/{top}", facts={"objects": objects[top], "bytes": sizes[top]})
    if unfinished:
        yield Found(f"s3://{name}: {UPLOADS}", facts={"objects": len(unfinished)})


def images(account: Account) -> Iterator[Found]:
    """What is in the repository, by digest."""
    if (name := repository_name(account)) is None:
        return
    for page in account.client("ecr").get_paginator("describe_images").paginate(repositoryName=name):
        for said in page["imageDetails"]:
            facts = {
                "tags": sorted(said.get("imageTags", ())),
                "bytes": said.get("imageSizeInBytes", 0),
                "since": said["imagePushedAt"],
            }
            yield Found(f"{name}@{said['imageDigest']}", facts=facts)


def model_package_groups(account: Account) -> Iterator[Found]:
    """One, as a rule."""
    for said in of_sagemaker(account, "model_package_groups"):
        yield Found(said["name"], said["arn"], {"since": said["CreationTime"]})


def model_packages(account: Account) -> Iterator[Found]:
    """Versions of the groups, with what the registry was told of them."""
    sagemaker = account.client("sagemaker")
    for group in model_package_groups(account):
        for page in sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group.name):
            for summary in page["ModelPackageSummaryList"]:
                said = sagemaker.describe_model_package(ModelPackageName=summary["ModelPackageArn"])
                told = said.get("CustomerMetadataProperties", {})
                facts = {
                    "version": said["ModelPackageVersion"],
                    "approval": said.get("ModelApprovalStatus", ""),
                    "sha256": told.get("sha256", ""),
                    "macro_average_precision": told.get("macro_average_precision", ""),
                    "since": said["CreationTime"],
                }
                yield Found(f"{group.name}/{facts['version']}", summary["ModelPackageArn"], facts)
