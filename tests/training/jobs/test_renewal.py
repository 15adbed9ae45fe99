"""`refresh --on sagemaker`: from stores in S3 to the endpoint, killed anywhere, and never twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import endpoints
from deploy.__main__ import main as deploy
from deploy.account import STACK, Account
from service.model.artifact import load
from tests.conftest import ROOT
from tests.deploy.conftest import BUCKET
from tests.sagemaker.platform import Platform
from tests.training.conftest import TINIEST
from tests.training.jobs.conftest import MACHINE, Say
from tests.training.test_refresh import altered, arguments
from training import inside
from training import run as command

pytestmark = pytest.mark.usefixtures("stores")
REFRESH = ("refresh", "tiles", "--probe-store", "mosaics", "--run", "fresh", "--name", "fresh", *TINIEST, *MACHINE)


def verdict(platform: Platform) -> dict[str, object]:
    told: dict[str, object] = json.loads(
        platform.client("s3").get_object(Bucket=BUCKET, Key="runs/fresh/gate.json")["Body"].read()
    )
    return told


def killed_after(platform: Platform, operation: str) -> None:
    """Calls the command and kills it with -9 when a call of its was carried out, before it is told so."""
    platform.before_answers[operation] = lambda: process.kill()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "training/run.py"), *REFRESH], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.wait(600) == -signal.SIGKILL
    del platform.before_answers[operation]


def test_killed_with_minus_9_after_each_of_its_steps_it_makes_one_version_and_called_again_no_other(
    platform: Platform, say: Say
) -> None:
    for operation in ("CreateTrainingJob", "CreateModelPackageGroup", "CreateModelPackage"):
        killed_after(platform, operation)
    for _ in range(2):
        code, out, err = say(*REFRESH)
        assert code == 0, out + err
        assert "nothing is served there yet" in out
        assert f"there is no endpoint {STACK}" in out
    assert len(platform.requests("CreateTrainingJob")) == 1
    sagemaker = platform.client("sagemaker")
    (version,) = sagemaker.list_model_packages(ModelPackageGroupName=STACK)["ModelPackageSummaryList"]
    told = sagemaker.describe_model_package(ModelPackageName=version["ModelPackageArn"])
    assert told["CustomerMetadataProperties"]["sha256"] == verdict(platform)["candidate"]

    refused = {**verdict(platform), "passed": False, "reason": "it is worse beyond chance"}
    platform.client("s3").put_object(Bucket=BUCKET, Key="runs/fresh/gate.json", Body=json.dumps(refused).encode())
    code, _, err = say(*REFRESH)
    assert code == 3
    assert "--accept takes it all the same" in err
    assert say(*REFRESH, "--accept")[0] == 0
    assert "fresh was begun with other options" not in err
    assert "epochs was 2.0, now 3.0" in say(*REFRESH, "--epochs", "3")[2]

    archive = f"jobs/{platform.requests('CreateTrainingJob')[-1]['TrainingJobName']}/output/model.tar.gz"
    platform.client("s3").delete_object(Bucket=BUCKET, Key=archive)  # as it expires
    code, out, err = say(*REFRESH, "--accept", "--dry-run")
    assert code == 0
    assert "registered" not in out
    assert f"sha256 {told['CustomerMetadataProperties']['sha256']}" in err
    sagemaker.delete_model_package(ModelPackageName=version["ModelPackageArn"])
    begun = len(platform.requests("CreateTrainingJob"))
    assert say(*REFRESH, "--accept")[0] == 0
    assert len(platform.requests("CreateTrainingJob")) == begun + 1


def test_an_endpoint_that_could_not_be_changed_is_told_before_anything_is_trained(
    platform: Platform, say: Say, account: Account
) -> None:
    begun = len(platform.requests("CreateTrainingJob"))
    assert "bad_name" in say(*REFRESH, "--endpoint", "elsewhere")[2]
    assert "not_found" in say(*REFRESH, "--endpoint", f"{STACK}-elsewhere")[2]
    two, sagemaker = f"{STACK}-two", account.client("sagemaker")
    platform.client("s3").put_object(Bucket=BUCKET, Key="models/none/model.tar.gz", Body=b"none")
    container = {"Image": "image", "ModelDataUrl": f"s3://{BUCKET}/models/none/model.tar.gz"}
    sagemaker.create_model(ModelName=two, PrimaryContainer=container, ExecutionRoleArn=account.outputs["ServingRole"])
    variant = {"ModelName": two, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    variants = [{"VariantName": name, **variant} for name in ("one", "other")]
    sagemaker.create_endpoint_config(EndpointConfigName=two, ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName=two, EndpointConfigName=two)
    assert "several_variants" in say(*REFRESH, "--endpoint", two)[2]
    assert len(platform.requests("CreateTrainingJob")) == begun


def test_what_is_better_than_what_is_served_takes_its_place(
    platform: Platform, say: Say, tiles: Path, mosaics: Path, tmp_path: Path, account: Account
) -> None:
    assert command.main(arguments(tmp_path / "run", tmp_path / "made", tiles, mosaics)) == 0
    worse = altered(load(tmp_path / "made"), tmp_path / "worse", weight=-1)
    assert deploy(["endpoint", str(worse.path)]) == 0
    killed_after(platform, "UpdateEndpoint")
    code, out, err = say(*REFRESH)
    assert code == 0, out + err
    assert verdict(platform)["served"] == worse.sha256
    assert "not worse beyond chance" in out
    served = endpoints.described(account, STACK)["EndpointConfigName"]
    assert str(verdict(platform)["candidate"])[:12] in served
    made = len(platform.requests("CreateTrainingJob")), len(platform.requests("UpdateEndpoint"))
    code, out, _ = say(*REFRESH)
    assert code == 0
    assert "as it did" in out
    assert (len(platform.requests("CreateTrainingJob")), len(platform.requests("UpdateEndpoint"))) == made
    assert made[1] == 1
    versions = platform.client("sagemaker").list_model_packages(ModelPackageGroupName=STACK)
    assert len(versions["ModelPackageSummaryList"]) == 2  # what was served, and this


def test_a_gate_that_refuses_is_no_failure_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "artifact").mkdir(parents=True)
    (tmp_path / "run" / "artifact" / "model.json").write_text("{}")
    monkeypatch.setattr(inside, "CHECKPOINTS", tmp_path / "run")
    monkeypatch.setattr(inside, "MODEL", tmp_path / "model")
    assert inside.carry_out(lambda _: inside.REFUSED, ["refresh"]) == 0
    assert (tmp_path / "model" / "model.json").exists()  # --accept may want it
    assert inside.carry_out(lambda _: 1, ["refresh"]) == 1
