"""A stack in the emulated account, stores in its bucket, and the command line of run.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.__main__ import main as deploy
from deploy.account import Account
from tests.deploy.conftest import BUCKET, push_image
from tests.sagemaker.platform import Platform
from training import run as command

Told = tuple[int, str, str]
Say = Callable[..., Told]
MACHINE = ("--on", "sagemaker", "--instance-type", "ml.m5.xlarge")


@pytest.fixture(scope="module")
def platform(module_platform: Platform) -> Platform:
    """One for all tests of a module."""
    return module_platform


@pytest.fixture(scope="module")
def account(platform: Platform) -> Account:
    """With a stack and an image to serve in."""
    assert deploy(["setup"]) == 0
    push_image(platform)
    return Account.open()


@pytest.fixture(scope="module")
def stores(account: Account, tiles: Path, mosaics: Path) -> Account:
    """The account, with the stores `tiles` and `mosaics` in its bucket."""
    for store in (tiles, mosaics):
        assert command.main(["upload", "store", str(store)]) == 0
    return account


@pytest.fixture
def say(account: Account, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Runs a command line, in a folder of the test; gives exit code, stdout and stderr."""
    del account
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Told:
        capsys.readouterr()
        code = command.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def objects(platform: Platform, prefix: str) -> list[str]:
    """Keys below a prefix of the stack's bucket, without it."""
    pages = platform.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
    return [found["Key"].removeprefix(prefix) for page in pages for found in page.get("Contents", ())]


def name_of(platform: Platform, kind: str = "Training") -> str:
    """Of the newest job."""
    return str(platform.requests(f"Create{kind}Job")[-1][f"{kind}JobName"])
