"""`prepare … --download`, as people type it, against a server here."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT
from tests.imagery import eurosat_like
from tests.training.stores.conftest import FileServer
from tests.training.stores.test_bigearthnet import NAMES, make_patch
from tests.waiting import wait_until
from training import run as command
from training.stores.published import BIGEARTHNET, EUROSAT, as_asked
from training.stores.store import Store


def checksums(server: FileServer) -> list[str]:
    told = ((name, hashlib.sha256(content).hexdigest()) for name, content in server.files.items())
    return [argument for name, digest in told for argument in ("--sha256", f"{name}={digest}")]


def tar_of(folder: Path, *more: tarfile.TarInfo) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member in more:
            archive.addfile(member, io.BytesIO(b"evil") if member.size else None)
        archive.add(folder, "BigEarthNet")
    return out.getvalue()


@pytest.fixture
def v1(server: FileServer, tmp_path: Path) -> FileServer:
    for i, name in enumerate(NAMES[:3]):
        make_patch(tmp_path / "ben", name, ["Pastures"], seed=i)
    evil = []
    for place in ("../../evil.tif", "/tmp/evil.tif", f"../../{NAMES[0]}_B02.txt"):
        evil.append(tarfile.TarInfo(place))
        evil[-1].size = 4
    link = tarfile.TarInfo(f"{NAMES[0]}/{NAMES[0]}_B02.tif")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    server.files["BigEarthNet-S2-v1.0.tar.gz"] = gzip.compress(tar_of(tmp_path / "ben", *evil, link))
    for name, patch in zip(("train", "val", "test"), NAMES, strict=False):
        server.files[f"{name}.csv"] = f"{patch},S1\n".encode()
    return server


def test_bigearthnet_v1_is_fetched_unpacked_and_split(v1: FileServer, tmp_path: Path) -> None:
    asked = ["prepare", "bigearthnet-v1", str(tmp_path / "got"), "--download", "--from", v1.url, *checksums(v1)]
    assert command.main([*asked, "--out", str(tmp_path / "store")]) == 0
    made = Store.open(tmp_path / "store")
    assert [(row.patch_id, row.split) for row in made.rows] == list(
        zip(NAMES[:3], ("train", "validation", "test"), strict=True)
    )
    there = {str(f.relative_to(tmp_path / "got")) for f in (tmp_path / "got").rglob("*") if f.is_file()}
    patch = f"patches/{NAMES[0]}/{NAMES[0]}"
    assert {f"{patch}_B02.tif", f"{patch}_labels_metadata.json"} < there
    assert f"{patch}_B08.tif" not in there  # not asked for
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not any("evil" in path.name for path in tmp_path.rglob("*"))

    count = len(v1.asked)
    torn = tmp_path / "got" / f"{patch}_B04.tif"
    content = torn.read_bytes()
    torn.write_bytes(content[:100])
    assert command.main([*asked, "--bands", "B08,B04,B03", "--out", str(tmp_path / "other")]) == 0
    assert torn.read_bytes() == content
    assert Store.open(tmp_path / "other").images.shape == (3, 120, 120, 3)
    assert len(v1.asked) == count  # everything was there


@pytest.mark.skipif(shutil.which("zstd") is None, reason="unpacking .tar.zst needs the program zstd")
def test_bigearthnet_v2_is_fetched_unpacked_and_labelled(server: FileServer, tmp_path: Path) -> None:
    name = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
    make_patch(tmp_path / "ben" / name[:-6], name, None)
    packed = subprocess.run(["zstd", "-c"], input=tar_of(tmp_path / "ben"), capture_output=True, check=True).stdout
    pq.write_table(pa.table({"patch_id": [name], "labels": [["Pastures"]], "split": ["train"]}), tmp_path / "m.parquet")
    server.files["BigEarthNet-S2.tar.zst"] = packed
    server.files["metadata.parquet"] = (tmp_path / "m.parquet").read_bytes()
    asked = ["prepare", "bigearthnet-v2", str(tmp_path / "got"), "--download", "--from", server.url]
    assert command.main([*asked, *checksums(server), "--out", str(tmp_path / "store")]) == 0
    (row,) = Store.open(tmp_path / "store").rows
    assert (row.patch_id, row.split, row.labels) == (name, "train", ("Pastures",))


def test_a_mirror_must_hold_what_is_published(
    v1: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["prepare", "bigearthnet-v1", str(tmp_path / "got"), "--download", "--from", v1.url]
    assert command.main([*asked, "--out", str(tmp_path / "store")]) == 1
    assert "623e501b38ab7b12fe44f0083c00986d" in capsys.readouterr().err
    assert command.main([*asked, "--sha256", "other=12", "--out", str(tmp_path / "store")]) == 1
    assert "what is fetched is BigEarthNet-S2-v1.0.tar.gz, train.csv" in capsys.readouterr().err


def test_a_damaged_archive_is_told(v1: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = v1.files["BigEarthNet-S2-v1.0.tar.gz"]
    v1.files["BigEarthNet-S2-v1.0.tar.gz"] = archive[: len(archive) // 2]
    asked = ["prepare", "bigearthnet-v1", str(tmp_path / "got"), "--download", "--from", v1.url, *checksums(v1)]
    assert command.main([*asked, "--out", str(tmp_path / "store")]) == 1
    assert "broken off or damaged" in capsys.readouterr().err


def test_what_is_published_has_an_address_and_a_checksum() -> None:
    for remote in (EUROSAT, *BIGEARTHNET[1], *BIGEARTHNET[2]):
        assert remote.url.startswith("https://")
        kind, _, digest = (remote.checksum or "").partition(":")
        assert len(bytes.fromhex(digest)) == hashlib.new(kind).digest_size
    mirrored = as_asked(BIGEARTHNET[1], "http://here/ben/", {})
    assert [remote.url for remote in mirrored][:2] == [
        "http://here/ben/BigEarthNet-S2-v1.0.tar.gz",
        "http://here/ben/train.csv",
    ]


def test_eurosat_killed_with_minus_9_while_it_is_fetched_goes_on(server: FileServer, tmp_path: Path) -> None:
    tiles = eurosat_like(tmp_path / "EuroSAT_RGB", each=12)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(tiles.rglob("*.jpg")):
            archive.write(file, file.relative_to(tmp_path))
    server.files["EuroSAT_RGB.zip"] = packed.getvalue()
    server.holds_after = len(packed.getvalue()) // 2
    asked = [sys.executable, str(ROOT / "training/run.py"), "prepare", "eurosat", str(tmp_path / "got"), "--download"]
    asked += ["--from", server.url, *checksums(server), "--out", str(tmp_path / "store")]
    killed = subprocess.Popen(asked)
    part = tmp_path / "got" / "EuroSAT_RGB.zip.part"
    wait_until(lambda: part.exists() and part.stat().st_size)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begun = part.stat().st_size
    server.holds_after = None
    server.go_on.set()

    subprocess.run(asked, check=True)
    assert server.asked == [("EuroSAT_RGB.zip", None), ("EuroSAT_RGB.zip", f"bytes={begun}-")]
    assert command.main(["prepare", "eurosat", str(tiles), "--out", str(tmp_path / "unpacked")]) == 0
    for name in ("images.npy", "index.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "unpacked" / name).read_bytes()
