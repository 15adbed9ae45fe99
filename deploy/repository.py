"""The stack's container repository, and which image in it serves."""

from __future__ import annotations

from deploy.account import Account
from deploy.errors import DeployError

TAG = "latest"


def image(account: Account, tag: str = TAG) -> str:
    """The address of the image that has a tag, by its digest: what is deployed stays what it is when the tag moves.

    Raises DeployError no_image.
    """
    from botocore.exceptions import ClientError

    ecr, name = account.client("ecr"), account.outputs["Repository"].partition("/")[2] or account.outputs["Repository"]
    try:
        (found,) = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])["imageDetails"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ImageNotFoundException", "RepositoryNotFoundException"):
            raise
        detail = f"The repository {name} has no image {tag}: run `python -m deploy image` first."
        raise DeployError("no_image", detail) from None
    (repository,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    return f"{repository['repositoryUri']}@{found['imageDigest']}"
