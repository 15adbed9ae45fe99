"""The container as SageMaker starts and ends it."""

from __future__ import annotations

import io
import json
import shutil
import signal
import sys
import tarfile
from pathlib import Path

import pytest

from service.model.artifact import Artifact
from tests.sagemaker import hosting
from tests.sagemaker.conftest import DOUBLING, Account, model_tar
from tests.sagemaker.hosting import BadModel, Container, unpack
from tests.sagemaker.program import Root
from tests.waiting import wait_until


def contained(account: Account, tmp_path: Path, archive: bytes | None, **environment: str) -> Container:
    log = account.platform.control.cloud.stream("Endpoints/one", "all/i-1")
    return Container(Root(tmp_path / "ml"), archive, {"DECODE_WORKERS": "1", **environment}, log)


def test_a_broken_model_ends_it_at_once(account: Account, tmp_path: Path, archive: bytes) -> None:
    cut = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as whole, tarfile.open(fileobj=cut, mode="w:gz") as tar:
        for member in whole:
            if member.name != "head.safetensors":
                tar.addfile(member, whole.extractfile(member))
    with contained(account, tmp_path, cut.getvalue()) as container:
        assert container.wait(120) == 1


def test_an_archive_with_a_folder_around_the_model_is_no_model(
    account: Account, tmp_path: Path, tiny_artifact: Artifact
) -> None:
    shutil.copytree(tiny_artifact.path, tmp_path / "packed" / "artifact")
    with contained(account, tmp_path, model_tar(tmp_path / "packed")) as container:
        assert container.wait(120) == 1


@pytest.mark.parametrize("archive", [b"no archive", b""])
def test_what_is_no_archive_is_refused(tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(BadModel, match="not a gzip-compressed tar archive"):
        unpack(archive, tmp_path / "model")


def test_links_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("model.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(BadModel, match="is a link"):
        unpack(buffer.getvalue(), tmp_path / "model")


def test_only_some_headers_pass(account: Account, tmp_path: Path) -> None:
    log = account.platform.control.cloud.stream("Endpoints/one", "all/i-1")
    with Container(Root(tmp_path / "ml"), None, {}, log, DOUBLING) as container:
        container.wait_until_healthy()
        passing = {"Content-Type": "application/json", "X-Amzn-SageMaker-Custom-Attributes": "{}"}
        assert container.invoke(b"2", {**passing, "X-Request-Id": "1", "Authorization": "no"}).body == b"4\n"
        assert container.stop()[0] == 128 + signal.SIGTERM
    [(_, line)] = log.lines
    assert json.loads(line)["headers"].keys() - {"Host", "Accept-Encoding", "Content-Length"} == passing.keys()


def test_what_does_not_end_when_told_is_killed(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosting, "KILL_AFTER_S", 0.5)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = account.platform.control.cloud.stream("Endpoints/one", "all/i-1")
    with Container(Root(tmp_path / "ml"), None, {}, log, (sys.executable, "-c", deaf)) as container:
        wait_until(lambda: log.lines)
        assert container.stop()[0] == 128 + signal.SIGKILL
