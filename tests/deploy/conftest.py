"""AWS's APIs on this machine: moto's server over a socket, with the calls added that it lacks; and, where models
really run, the platform with a stack in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto.sagemaker.responses import SageMakerResponse

from deploy.__main__ import main
from deploy.account import Account
from tests.aws import empty, empty_account
from tests.conftest import ROOT
from tests.sagemaker.platform import Platform

STACK = "aerial-featurizer"
BUCKET = f"{STACK}-123456789012-eu-central-1"


@dataclass(frozen=True)
class Cloud:
    """An account that is empty at the start of each test."""

    address: str
    environment: dict[str, str]
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(service)
        return self._clients[service]

    def deploy(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The whole line, as people type it."""
        return subprocess.run(
            [sys.executable, "-m", "deploy", *words],
            cwd=ROOT,
            env=os.environ | self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


def add_what_moto_lacks() -> None:
    """Stop and delete as SageMaker does; jobs end when they are asked to, and not before a test says so."""
    from moto.core.responses import ActionResult, EmptyResult
    from moto.sagemaker.exceptions import ValidationError

    def jobs(response: SageMakerResponse, kind: str) -> tuple[dict[str, Any], str]:
        kept = getattr(response.sagemaker_backend, f"{kind}_jobs")
        name = response._get_param(f"{kind.capitalize()}JobName")
        if name not in kept:
            raise ValidationError("Requested resource not found.")
        return kept, name

    def stop(kind: str) -> Any:
        def answer(response: SageMakerResponse) -> ActionResult:
            kept, name = jobs(response, kind)
            setattr(kept[name], f"{kind}_job_status", "Stopped")
            return EmptyResult()

        return answer

    def delete(kind: str) -> Any:
        def answer(response: SageMakerResponse) -> ActionResult:
            kept, name = jobs(response, kind)
            assert getattr(kept[name], f"{kind}_job_status") not in {"InProgress", "Stopping"}
            del kept[name]
            return EmptyResult()

        return answer

    def delete_model_package(response: SageMakerResponse) -> ActionResult:
        del response.sagemaker_backend.model_packages[response._get_param("ModelPackageName")]
        return EmptyResult()

    def delete_model_package_group(response: SageMakerResponse) -> ActionResult:
        name = response._get_param("ModelPackageGroupName")
        kept = response.sagemaker_backend.model_packages.values()
        assert all(package.model_package_group_name != name for package in kept)
        del response.sagemaker_backend.model_package_groups[name]
        return EmptyResult()

    for kind in ("training", "processing", "transform"):
        setattr(SageMakerResponse, f"stop_{kind}_job", stop(kind))
    for kind in ("training", "processing"):
        setattr(SageMakerResponse, f"delete_{kind}_job", delete(kind))
    SageMakerResponse.delete_model_package = delete_model_package
    SageMakerResponse.delete_model_package_group = delete_model_package_group


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    add_what_moto_lacks()
    with empty_account() as address:
        yield address


@pytest.fixture
def cloud(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    environment = {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AERIAL_STACK"):
        monkeypatch.delenv(name, raising=False)
    boto3.setup_default_session()
    empty(server)
    yield Cloud(server, environment)
    boto3.DEFAULT_SESSION = None


@pytest.fixture
def bare_account(platform: Platform) -> Account:
    """On the platform, with a stack and no image in its repository."""
    assert main(["setup"]) == 0
    platform.calls.clear()
    return Account.open()


@pytest.fixture
def account(platform: Platform, bare_account: Account) -> Account:
    """On the platform, with a stack and an image."""
    push_image(platform)
    platform.calls.clear()
    return bare_account


def push_image(platform: Platform, content: str = "1") -> None:
    """An image under the tag that is deployed."""
    media_type = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": media_type, "layers": [{"digest": content}]}
    platform.client("ecr").put_image(repositoryName=STACK, imageManifest=json.dumps(manifest), imageTag="latest")


Deploy = Callable[..., tuple[int, str, str]]


@pytest.fixture
def deploy(capsys: pytest.CaptureFixture[str]) -> Deploy:
    """Carries out a command line; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
