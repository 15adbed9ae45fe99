"""`upload`: what is on this machine is in S3 afterwards, whole, and is not sent twice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import numpy as np
import pytest
import rasterio

from deploy import uploads
from deploy.account import Account
from deploy.errors import DeployError
from deploy.storage import Address
from deploy.uploads import Sent, Source
from tests.conftest import ROOT
from tests.deploy.conftest import BUCKET
from tests.imagery import PLACE, geotiff, reflectance
from tests.sagemaker.platform import Platform
from tests.training.jobs.conftest import Say, objects

BANDS = ("B02", "B03", "B04", "B08", "B11")


def patch(folder: Path, number: int) -> Path:
    """As BigEarthNet lays one out; B11 is coarser."""
    name = f"S2A_MSIL2A_20170613T101031_{number}_1"
    (folder / name).mkdir(parents=True)
    for i, band in enumerate(BANDS):
        values = reflectance(64 if band == "B11" else 120, 1, number * 10 + i)
        (folder / name / f"{name}_{band}.tif").write_bytes(geotiff(values))
    (folder / name / f"{name}_labels_metadata.json").write_text('{"labels": ["Pastures"]}')
    return folder / name


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    for number in range(3):
        patch(tmp_path / "patches", number)
    return tmp_path / "patches"


def read(key: str) -> bytes:
    body: bytes = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return body


def test_of_the_bands_those_are_sent_that_were_asked_for_with_the_labels(
    platform: Platform, say: Say, patches: Path
) -> None:
    code, out, _ = say("upload", "bands", patches, "--name", "ben", "--bands", "B04,B03,B02")
    assert code == 0
    assert "12 sent, 0 were there already" in out
    assert f"next: training/run.py prepare bigearthnet-v1 s3://{BUCKET}/tiles/ben/" in out
    sent = objects(platform, "tiles/ben/")
    assert {key.rpartition("_")[2] for key in sent} == {"B02.tif", "B03.tif", "B04.tif", "metadata.json"}
    first = next(key for key in sent if key.endswith("B02.tif"))
    assert read(f"tiles/ben/{first}") == (patches / first).read_bytes()
    code, _, err = say("upload", "bands", patches, "--bands", "B99")
    assert code == 1
    assert "no files of B99" in err


def test_a_patch_becomes_one_geotiff_with_its_bands_named_and_its_place_kept(
    platform: Platform, say: Say, patches: Path, tmp_path: Path
) -> None:
    code, out, _ = say("upload", "bands", patches, "--stack", "--name", "stacked", "--bands", "B04,B03,B02")
    assert code == 0, out
    assert f"next: python -m deploy transform s3://{BUCKET}/tiles/stacked/" in out
    assert objects(platform, "tiles/stacked/") == [f"S2A_MSIL2A_20170613T101031_{n}_1.tif" for n in range(3)]
    (tmp_path / "one.tif").write_bytes(read("tiles/stacked/S2A_MSIL2A_20170613T101031_1_1.tif"))
    with rasterio.open(tmp_path / "one.tif") as made:
        assert made.descriptions == ("B04", "B03", "B02")
        assert (made.crs, made.transform) == (rasterio.crs.CRS.from_epsg(32633), PLACE)
        assert np.array_equal(made.read(3), reflectance(120, 1, 10)[0])
    code, out, _ = say("upload", "bands", patches, "--stack", "--name", "stacked", "--bands", "B04,B03,B02")
    assert "0 sent, 3 were there already" in out


def test_a_patch_that_cannot_be_stacked_is_named_and_the_others_are_sent(
    platform: Platform, say: Say, patches: Path
) -> None:
    broken = patch(patches, 7)
    next(broken.glob("*_B03.tif")).write_bytes(b"no GeoTIFF")
    code, out, err = say("upload", "bands", patches, "--stack", "--name", "some", "--bands", "B04,B03,B02")
    assert code == 1
    assert "3 sent" in out
    assert f"{broken.name}.tif cannot be read" in err
    assert len(objects(platform, "tiles/some/")) == 3
    code, _, err = say("upload", "bands", patches, "--stack", "--name", "coarse", "--bands", "B04,B11")
    assert code == 1
    assert "differ in size, place or type" in err


def test_a_store_is_there_when_its_card_is(platform: Platform, say: Say, tiles: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(tiles, tmp_path / "own"))
    assert "3 would be sent" in say("upload", "store", own, "--dry-run")[1]
    assert objects(platform, "stores/own/") == []
    assert say("upload", "store", own)[0] == 0
    keys = [call.request["Key"] for call in platform.calls if call.operation == "s3/PUT"]
    assert keys[-1] == "stores/own/store.json"
    (own / "index.parquet").write_bytes(b"altered")
    assert "1 sent, 2 were there already" in say("upload", "store", own)[1]
    code, _, err = say("upload", "store", tmp_path)
    assert code == 1
    assert "is no store" in err


def test_killed_with_minus_9_it_sends_the_rest_when_called_again(platform: Platform, say: Say, tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / "many").mkdir(exist_ok=True)
        (tmp_path / "many" / f"p{number}_B02.tif").write_bytes(os.urandom(2000))
    line = ["upload", "bands", str(tmp_path / "many"), "--bands", "B02"]
    platform.before_answers["PUT"] = lambda: process.kill() if len(objects(platform, "tiles/many/")) >= 5 else None
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "training/run.py"), *line], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.wait(300) == -signal.SIGKILL
    del platform.before_answers["PUT"]
    there = len(objects(platform, "tiles/many/"))
    assert 5 <= there < 150
    sent, known = map(int, re.findall(r"(\d+) (?:sent|were there already)", say(*line)[1]))
    assert sent + known == 150
    assert there <= known < 150  # what was under way when it died may have arrived after the look
    assert len(objects(platform, "tiles/many/")) == 150


def test_of_a_large_file_only_those_parts_are_sent_that_s3_has_not(
    account: Account, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PART", 5 * 1024 * 1024)  # the least that S3 allows
    file, prefix = tmp_path / "images.npy", Address(account.bucket, "stores/large/")
    content = np.random.default_rng(0).bytes(12_000_000)
    file.write_bytes(content)
    s3, where = account.client("s3"), {"Bucket": account.bucket, "Key": "stores/large/images.npy"}
    upload = s3.create_multipart_upload(**where, ChecksumAlgorithm="SHA256")["UploadId"]
    s3.upload_part(**where, UploadId=upload, PartNumber=1, Body=content[: uploads.PART])
    before = len(platform.calls)
    assert list(uploads.send(account, [Source("images.npy", file)], prefix)) == [Sent("images.npy", 12_000_000, False)]
    sent = [call.request["Query"] for call in platform.calls[before:] if call.operation == "s3/PUT"]
    assert [query.partition("partNumber=")[2][0] for query in sent] == ["2", "3"]
    assert read("stores/large/images.npy") == content
    assert list(uploads.send(account, [Source("images.npy", file)], prefix)) == [Sent("images.npy", 12_000_000, True)]


def test_what_came_otherwise_than_it_was_sent_is_an_error(account: Account) -> None:
    def damaged(parsed: dict[str, str], **_: object) -> None:
        parsed["ETag"] = '"0"'

    account.client("s3").meta.events.register("after-call.s3.PutObject", damaged)
    with pytest.raises(DeployError, match="upload_damaged"):
        list(uploads.send(account, [Source("one", lambda: b"1")], Address(account.bucket, "tiles/")))
    account.client("s3").meta.events.unregister("after-call.s3.PutObject", damaged)
