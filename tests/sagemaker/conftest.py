from __future__ import annotations

import io
import json
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.model.artifact import Artifact
from tests.sagemaker.api import REGION
from tests.sagemaker.platform import Platform
from tests.sagemaker.storage import Storage
from tests.training.conftest import mosaics as mosaics
from tests.training.conftest import tiles as tiles

BUCKET = "imagery"
DOUBLING = (sys.executable, str(Path(__file__).parent / "stand_ins" / "doubling.py"))
HERE = {"LocationConstraint": REGION}


def model_tar(folder: Path) -> bytes:
    """What `model.tar.gz` holds: a folder, flat."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for file in sorted(folder.rglob("*")):
            tar.add(file, file.relative_to(folder), recursive=False)
    return buffer.getvalue()


@dataclass(frozen=True)
class Account:
    """A bucket, a role, and clients that reach them."""

    platform: Platform
    role: str

    def client(self, service: str) -> Any:
        import boto3

        return boto3.client(service)

    def uri(self, key: str) -> str:
        return f"s3://{BUCKET}/{key}"

    def put(self, key: str, body: bytes) -> str:
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=body)
        return self.uri(key)

    def get(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        return [one.key for one in Storage(self.client("s3"))._below(self.uri(prefix))]

    def model(self, name: str, archive: bytes, **environment: str) -> None:
        url = self.put(f"models/{name}/model.tar.gz", archive)
        container = {"Image": "image", "ModelDataUrl": url, "Environment": environment}
        self.client("sagemaker").create_model(ModelName=name, ExecutionRoleArn=self.role, PrimaryContainer=container)


def furnish(platform: Platform) -> Account:
    platform.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=HERE)
    trusted = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    role = platform.client("iam").create_role(RoleName="sagemaker", AssumeRolePolicyDocument=policy)
    return Account(platform, role["Role"]["Arn"])


@pytest.fixture
def account(platform: Platform) -> Account:
    return furnish(platform)


@pytest.fixture(scope="module")
def module_account(module_platform: Platform) -> Account:
    return furnish(module_platform)


@pytest.fixture
def doubling(account: Account) -> Account:
    """A model that doubles numbers, one JSON a line, and notes each request in its log."""
    account.platform.images["doubling"] = DOUBLING
    account.client("sagemaker").create_model(
        ModelName="doubling", ExecutionRoleArn=account.role, PrimaryContainer={"Image": "doubling"}
    )
    return account


@pytest.fixture(scope="session")
def archive(tiny_artifact: Artifact) -> bytes:
    """model.tar.gz of the tiny artifact."""
    return model_tar(tiny_artifact.path)
