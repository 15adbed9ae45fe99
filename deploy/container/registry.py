"""Images in the stack's repository: whether one is there, and that SageMaker can read it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any

from deploy.errors import DeployError

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
INDEXES = ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
#: OCI's names → Docker's, of the same bytes
NAMES = {
    OCI: DOCKER,
    "application/vnd.oci.image.config.v1+json": "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


@dataclass(frozen=True)
class Image:
    """An image as the registry keeps it."""

    digest: str  #: empty before it is there
    media_type: str
    manifest: str  #: JSON

    def is_built_as(self, identity: str) -> bool:
        """Whether a builder's id means this image: builders name one by its configuration or by its manifest."""
        return identity in (self.digest, json.loads(self.manifest).get("config", {}).get("digest"))


@dataclass(frozen=True)
class Registry:
    """One repository of Amazon ECR."""

    ecr: Any  #: boto3's client
    repository: str

    def find(self, tag: str) -> Image | None:
        """The image that has a tag."""
        return self._get({"imageTag": tag})

    def credentials(self) -> tuple[str, str]:
        """User and password, good for twelve hours."""
        (said,) = self.ecr.get_authorization_token()["authorizationData"]
        user, _, password = base64.b64decode(said["authorizationToken"]).decode().partition(":")
        return user, password

    def give(self, tag: str, image: Image) -> Image:
        """Has a tag name an image, whatever it named before. The image as the repository has it."""
        named = self.find(tag)
        if named is not None and named.manifest == image.manifest:
            return named
        said = self.ecr.put_image(
            repositoryName=self.repository,
            imageManifest=image.manifest,
            imageManifestMediaType=image.media_type,
            imageTag=tag,
        )
        return replace(image, digest=said["image"]["imageId"]["imageDigest"])

    def readable(self, image: Image) -> Image:
        """The same image with a manifest of Docker's form, the only one from which SageMaker makes models.

        Builders write OCI's by default (https://github.com/aws/amazon-sagemaker-feedback/issues/180). The layers are
        the same bytes; only the names of their types differ. Raises DeployError unusable_image.
        """
        if image.media_type in INDEXES:
            image = self._chosen(image)
        if image.media_type == DOCKER:
            return image
        manifest = json.loads(image.manifest)
        parts = [manifest["config"], *manifest["layers"]]
        if foreign := sorted({part["mediaType"] for part in parts} - set(NAMES)):
            detail = f"SageMaker reads no {', '.join(foreign)}: build without special compression of layers."
            raise DeployError("unusable_image", detail)
        renamed = [{**part, "mediaType": NAMES[part["mediaType"]]} for part in parts]
        docker = {"schemaVersion": 2, "mediaType": DOCKER, "config": renamed[0], "layers": renamed[1:]}
        return Image("", DOCKER, json.dumps(docker))

    def _chosen(self, index: Image) -> Image:
        for part in json.loads(index.manifest)["manifests"]:
            platform = part.get("platform", {})
            if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                found = self._get({"imageDigest": part["digest"]})
                if found is not None:
                    return found
        raise DeployError("unusable_image", "The image pushed holds nothing for linux/amd64: build it for that.")

    def _get(self, which: dict[str, str]) -> Image | None:
        said = self.ecr.batch_get_image(
            repositoryName=self.repository, imageIds=[which], acceptedMediaTypes=[DOCKER, OCI, *INDEXES]
        )
        for found in said["images"]:
            manifest = found["imageManifest"]
            media_type = found.get("imageManifestMediaType") or json.loads(manifest)["mediaType"]
            return Image(found["imageId"]["imageDigest"], media_type, manifest)
        return None
