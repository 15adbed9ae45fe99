from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from deploy import packing, registry, repository
from deploy.account import STACK, Account
from deploy.errors import DeployError
from service.model.artifact import MANIFEST, STARTER, Artifact, load
from tests.deploy.conftest import BUCKET, push_image
from tests.sagemaker.platform import Platform

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/aerial-featurizer@sha256:" + "1" * 64


def test_a_packed_artifact_is_flat_has_no_links_and_always_the_same_bytes(
    tiny_artifact: Artifact, tmp_path: Path
) -> None:
    shutil.copytree(tiny_artifact.path, tmp_path / "copy", copy_function=shutil.copyfile)
    packed = packing.pack(tiny_artifact)
    assert packed == packing.pack(load(tmp_path / "copy"))
    assert packed[4:8] == bytes(4)  # when it was packed is not told
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames()[0] == MANIFEST
        assert all(member.isfile() and member.mtime == member.uid == member.gid == 0 for member in archive)
    (tmp_path / "model.tar.gz").write_bytes(packed)
    packing.unpack(tmp_path / "model.tar.gz", tmp_path / "unpacked")
    assert load(tmp_path / "unpacked").sha256 == tiny_artifact.sha256


def test_an_archive_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    (tmp_path / "unpacked").mkdir()
    with pytest.raises(DeployError, match="bad_archive"):
        packing.unpack(tmp_path / "model.tar.gz", tmp_path / "unpacked")
    assert not (tmp_path / "outside").exists()


def test_an_artifact_becomes_one_version_however_often_and_from_wherever_it_comes(
    account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    first = registry.register(account, tiny_artifact.path, IMAGE, approved=False)
    again = registry.register(account, tiny_artifact.path, IMAGE, approved=True)
    of_job = f"s3://{BUCKET}/runs/one/output/model.tar.gz"
    platform.client("s3").upload_file(str(_tar(tiny_artifact.path)), BUCKET, of_job.removeprefix(f"s3://{BUCKET}/"))
    from_s3 = registry.register(account, of_job, IMAGE, approved=True)
    assert first.version == again.version == from_s3.version == "1"
    assert (first.approved, again.approved, from_s3.approved) == (False, True, True)
    assert len(platform.requests("CreateModelPackage")) == len(platform.requests("CreateModelPackageGroup")) == 1
    archives = [call for call in platform.requests("s3/PUT") if call["Key"].startswith("models/")]
    assert [call["Key"] for call in archives] == [
        f"models/{tiny_artifact.sha256}/{name}" for name in ("model.tar.gz", "metrics.json")
    ]


def test_what_a_person_rejected_is_not_approved_by_deploying_it(
    account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    version = registry.register(account, tiny_artifact.path, IMAGE, approved=True)
    sagemaker = platform.client("sagemaker")
    sagemaker.update_model_package(ModelPackageArn=version.arn, ModelApprovalStatus="Rejected")
    with pytest.raises(DeployError, match=r"rejected: Version 1 .*Model Registry"):
        registry.register(account, tiny_artifact.path, IMAGE, approved=True)
    assert not registry.register(account, tiny_artifact.path, IMAGE, approved=False).approved
    said = sagemaker.describe_model_package(ModelPackageName=version.arn)
    assert said["ModelApprovalStatus"] == "Rejected"


def _tar(folder: Path) -> Path:
    file = folder.parent / "output.tar.gz"
    with tarfile.open(file, "w:gz", compresslevel=1) as archive:
        archive.add(folder, ".")
    return file


def test_the_registry_is_told_the_figures_and_the_card_of_the_starter(account: Account, platform: Platform) -> None:
    starter = load(STARTER)
    registry.register(account, STARTER, IMAGE, approved=True)
    (asked,) = platform.requests("CreateModelPackage")
    card = json.loads(asked.pop("ModelCard")["ModelCardContent"])
    digest = asked["ModelMetrics"]["ModelQuality"]["Statistics"].pop("ContentDigest")
    assert asked == {
        "ModelPackageGroupName": STACK,
        "ModelPackageDescription": "aerial-starter 2",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/models/{starter.sha256}/model.tar.gz"}],
            "SupportedContentTypes": ["image/tiff", "multipart/form-data", "application/json", "application/jsonlines"],
            "SupportedResponseMIMETypes": [
                *("application/json", "application/jsonlines", "application/x-npy"),
                *("application/geo+json", "application/vnd.apache.parquet", "image/tiff"),
            ],
        },
        "ModelApprovalStatus": "Approved",
        "ModelMetrics": {
            "ModelQuality": {
                "Statistics": {
                    "ContentType": "application/json",
                    "S3Uri": f"s3://{BUCKET}/models/{starter.sha256}/metrics.json",
                }
            }
        },
        "CustomerMetadataProperties": {
            "sha256": starter.sha256, "name": "aerial-starter", "version": "2",
            "created": "2026-11-21T08:24:53+00:00", "macro_average_precision": "0.8408",
            "store": "eurosat-mosaics-surface", "macro_interval": "0.8328 0.8483",
        },
        "ClientToken": starter.sha256[:36],
    }  # fmt: skip
    assert digest.startswith("sha256:")
    of_mosaics = card["evaluation_details"][0]
    assert of_mosaics["name"] == "eurosat-mosaics-surface, test split"
    assert of_mosaics["metric_groups"][0]["metric_data"][0] == {
        "name": "macro", "type": "number", "value": starter.manifest.metrics[0]["macro"],
        "notes": "95 % interval 0.8328 to 0.8483",
    }  # fmt: skip


def test_what_a_killed_upload_left_is_uploaded_again(
    account: Account, platform: Platform, tiny_artifact: Artifact
) -> None:
    key = f"models/{tiny_artifact.sha256}/model.tar.gz"
    platform.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"torn")
    registry.register(account, tiny_artifact.path, IMAGE, approved=True)
    stored = platform.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    assert stored == packing.pack(tiny_artifact)


def test_an_image_is_named_by_its_digest_and_its_absence_says_what_to_do(
    bare_account: Account, platform: Platform
) -> None:
    with pytest.raises(DeployError, match=r"no_image: .*deploy image"):
        repository.image(bare_account)
    push_image(platform)
    image = repository.image(bare_account)
    assert image.startswith(f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/{STACK}@sha256:")


def test_without_an_approved_version_there_is_nothing_to_deploy(account: Account, tiny_artifact: Artifact) -> None:
    registry.register(account, tiny_artifact.path, IMAGE, approved=False)
    with pytest.raises(DeployError, match="no_model"):
        registry.latest(account, IMAGE)
