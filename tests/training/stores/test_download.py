from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest

from tests.training.stores.conftest import FileServer
from training.stores.download import Remote, fetch

CONTENT = random.Random(0).randbytes(3_000_000)
OTHER = random.Random(1).randbytes(2_000_000)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def md5(content: bytes) -> str:
    return f"md5:{hashlib.md5(content).hexdigest()}"


@pytest.fixture
def remote(server: FileServer) -> Remote:
    server.files["data.bin"] = CONTENT
    return Remote(f"{server.url}/data.bin?inline=false", md5(CONTENT), len(CONTENT))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_file_is_fetched_once(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(remote, tmp_path / "new").read_bytes() == CONTENT
    assert server.asked == [("data.bin", None)]
    assert names(tmp_path / "new") == ["data.bin", "data.bin.json"]


def test_a_broken_connection_is_continued_where_it_broke(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.drops = [1_000_000, 0, 500_000]
    assert fetch(remote, tmp_path, 0.01).read_bytes() == CONTENT
    ranges = [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-"]
    assert server.asked == [("data.bin", wanted) for wanted in ranges]


def test_a_server_without_ranges_is_asked_for_all_again(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.drops = [1_000_000]
    assert fetch(remote, tmp_path, 0.01).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    server.files["data.bin"] = CONTENT
    server.drops = [1_000_000, *[0] * 7]
    remote = Remote(f"{server.url}/data.bin", sha256(OTHER))
    with pytest.raises(OSError, match="connection broke off"):
        fetch(remote, tmp_path, 0.001)
    assert names(tmp_path) == ["data.bin.part", "data.bin.part.json"]
    server.files["data.bin"], server.versions["data.bin"] = OTHER, "2"
    assert fetch(remote, tmp_path, 0.01).read_bytes() == OTHER


def test_a_file_that_shrank_meanwhile_is_begun_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    (tmp_path / "data.bin.part.json").write_text('{"version": "\\"1\\"", "size": 4000000}')
    server.files["data.bin"] = OTHER
    assert fetch(Remote(f"{server.url}/data.bin", sha256(OTHER)), tmp_path, 0.01).read_bytes() == OTHER


def test_a_wrong_checksum_names_both_and_keeps_the_file_aside(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    server.files["data.bin"] = bytes(len(CONTENT))
    with pytest.raises(ValueError, match="its md5 is") as error:
        fetch(remote, tmp_path)
    assert md5(CONTENT).removeprefix("md5:") in str(error.value)
    assert md5(bytes(len(CONTENT))).removeprefix("md5:") in str(error.value)
    assert names(tmp_path) == ["data.bin.part.json", "data.bin.wrong"]
    server.files["data.bin"] = CONTENT
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked[1] == ("data.bin", None)


def test_a_file_laid_there_by_hand_is_checked_and_never_removed(
    server: FileServer, remote: Remote, tmp_path: Path
) -> None:
    (tmp_path / "data.bin").write_bytes(OTHER)
    with pytest.raises(ValueError, match="its md5 is"):
        fetch(remote, tmp_path)
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert fetch(remote, tmp_path).read_bytes() == CONTENT
    assert server.asked == []


def test_without_a_checksum_the_one_found_is_told(
    server: FileServer, remote: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(Remote(remote.url), tmp_path)
    assert sha256(CONTENT).removeprefix("sha256:") in capsys.readouterr().out
    fetch(Remote(remote.url, sha256(CONTENT)), tmp_path)
    assert len(server.asked) == 1


def test_a_file_of_another_size_than_published_is_not_begun(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.files["data.bin"] = CONTENT + b"!"
    with pytest.raises(ValueError, match="3000001 bytes, not 3000000"):
        fetch(remote, tmp_path)
    assert names(tmp_path) == []


def test_what_the_disk_cannot_hold_is_not_begun(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.announced = 10**16
    with pytest.raises(OSError, match=r"10,000,000,000 MB are missing and [\d,]+ MB are free"):
        fetch(Remote(remote.url), tmp_path)
    assert names(tmp_path) == []


def test_what_passes_is_tried_again_and_what_stays_is_told(server: FileServer, remote: Remote, tmp_path: Path) -> None:
    server.refusals = [503, 429]
    assert fetch(remote, tmp_path, 0.01).read_bytes() == CONTENT
    with pytest.raises(OSError, match="404"):
        fetch(Remote(f"{server.url}/other.bin"), tmp_path)
    assert [name for name, _ in server.asked].count("other.bin") == 1


def test_where_there_is_no_server_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="leave --download out"):
        fetch(Remote("http://127.0.0.1:1/data.bin"), tmp_path, 0.001)
    with pytest.raises(ValueError, match="only http and https"):
        fetch(Remote("file:///etc/passwd"), tmp_path)
