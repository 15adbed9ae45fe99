"""python -m deploy image, with a program on the PATH that stands for docker."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.__main__ import main
from deploy.container.source import state
from tests.conftest import ROOT
from tests.deploy import stand_in_builder
from tests.deploy.conftest import STACK, Cloud

REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Docker:
    log: Path

    @property
    def calls(self) -> Sequence[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    @property
    def commands(self) -> list[str]:
        return [call["words"][0] for call in self.calls]


@pytest.fixture
def docker(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """In an account with a stack."""
    assert cloud.client("cloudformation").describe_stacks()["Stacks"] == []
    assert main(["setup"]) == 0
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("docker", "podman"):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {stand_in_builder.__file__} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("BUILDER_LOG", str(tmp_path / "log"))
    return Docker(tmp_path / "log")


def kept(cloud: Cloud, tag: str) -> Any:
    (image,) = cloud.client("ecr").batch_get_image(repositoryName=STACK, imageIds=[{"imageTag": tag}])["images"]
    return image


def test_the_checkout_is_built_for_sagemakers_machines_and_pushed(
    cloud: Cloud, docker: Docker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "--tag", "one"]) == 0
    build, login, push = (call["words"] for call in docker.calls)
    assert build[:3] == ["build", "--platform", "linux/amd64"] and build[-1] == str(ROOT)
    assert f"{REGISTRY}/{STACK}:one" in build
    assert login == ["login", "--username", "AWS", "--password-stdin", REGISTRY]
    assert push == ["push", f"{REGISTRY}/{STACK}:one"]
    assert kept(cloud, "one")["imageId"]["imageDigest"] in capsys.readouterr().out
    assert kept(cloud, "latest")["imageId"]["imageDigest"] == kept(cloud, "one")["imageId"]["imageDigest"]


def test_the_password_goes_through_a_pipe_and_the_tag_is_the_commit(
    docker: Docker, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image"]) == 0
    (login,) = (call for call in docker.calls if call["words"][0] == "login")
    assert login["typed"]
    assert not [word for call in docker.calls for word in call["words"] if login["typed"] in word]
    assert f"{REGISTRY}/{STACK}:{state(ROOT)}" in capsys.readouterr().out.splitlines()
    assert f"org.opencontainers.image.revision={state(ROOT)}" in docker.calls[0]["words"]


@pytest.mark.parametrize(("said", "target", "tag"), [((), "cpu", ""), (("--target", "gpu"), "gpu", "-gpu")])
def test_the_container_for_a_gpu_is_a_target_of_its_own(
    docker: Docker, capsys: pytest.CaptureFixture[str], said: tuple[str, ...], target: str, tag: str
) -> None:
    assert main(["image", *said]) == 0
    words = docker.calls[0]["words"]
    assert words[words.index("--target") + 1] == target
    assert f"{REGISTRY}/{STACK}:{state(ROOT)}{tag}" in capsys.readouterr().out.splitlines()


def test_what_the_registry_has_is_not_pushed_again(docker: Docker, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image"]) == 0
    first = capsys.readouterr().out
    assert main(["image"]) == 0
    assert docker.commands == ["build", "login", "push", "build"]
    assert capsys.readouterr().out == first


def test_a_manifest_of_ocis_form_is_rewritten_as_sagemaker_reads_it(cloud: Cloud, docker: Docker) -> None:
    """SageMaker makes no model of an image whose manifest is OCI's, which new builders write."""
    assert main(["image", "--builder", "podman", "--tag", "one"]) == 0
    assert docker.commands == ["build", "login", "push"]
    told, pushed = json.loads(kept(cloud, "one")["imageManifest"]), json.loads(stand_in_builder.manifest())
    assert told["mediaType"] == DOCKER
    assert [part["digest"] for part in (told["config"], *told["layers"])] == [
        part["digest"] for part in (pushed["config"], *pushed["layers"])
    ]
    assert not [part for part in (told["config"], *told["layers"]) if ".oci." in part["mediaType"]]


@pytest.mark.usefixtures("docker")
def test_an_image_that_sagemaker_cannot_read_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMPRESSION", "zstd")
    assert main(["image"]) == 1
    assert "unusable_image: " in capsys.readouterr().err


@pytest.mark.usefixtures("docker")
def test_without_a_builder_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["image"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("builder_missing: docker is not on the PATH")


@pytest.mark.parametrize("step", ["build", "push"])
def test_a_builder_that_fails_ends_the_command(
    docker: Docker, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], step: str
) -> None:
    monkeypatch.setenv("BUILDER_FAILS", step)
    assert main(["image"]) == 1
    assert docker.commands[-1] == step
    said = capfd.readouterr().err
    assert "no space left on device" in said and f"builder_failed: docker {step} ended with 3" in said


def test_a_dry_run_prints_command_lines_and_runs_none(
    cloud: Cloud, docker: Docker, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["image", "--dry-run"]) == 0
    told = [json.loads(line)["command"] for line in capsys.readouterr().out.splitlines()]
    assert [command[:2] for command in told] == [["docker", "build"], ["docker", "login"], ["docker", "push"]]
    assert docker.calls == []
    assert cloud.client("ecr").list_images(repositoryName=STACK)["imageIds"] == []


@pytest.mark.usefixtures("cloud")
def test_before_setup_it_says_to_run_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image"]) == 1
    assert capsys.readouterr().err.startswith("no_stack: ")
