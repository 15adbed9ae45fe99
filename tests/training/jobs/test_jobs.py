"""Commands of run.py as jobs of an emulated SageMaker, which really run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.account import STACK, Account
from tests.deploy.conftest import BUCKET
from tests.imagery import eurosat_like
from tests.sagemaker.platform import Platform
from tests.training.conftest import TINIEST
from tests.training.jobs.conftest import MACHINE, Say, name_of, objects
from tests.waiting import wait_until
from training import run as command

pytestmark = pytest.mark.usefixtures("stores")
SAVING = ("--checkpoint-minutes", "0")  # after each step, so that it can be interrupted after one


@contextmanager
def meanwhile(*line: object) -> Iterator[list[int]]:
    """A command line in a thread; afterwards the list holds its exit code."""
    ended: list[int] = []
    thread = threading.Thread(target=lambda: ended.append(command.main([str(word) for word in line])))
    thread.start()
    yield ended
    thread.join(600)


def wait_for(platform: Platform, prefix: str, ending: str) -> None:
    """Until there is such an object."""
    wait_until(lambda: any(key.endswith(ending) for key in objects(platform, prefix)))


def test_a_run_is_pretrained_on_two_hosts_then_probed_and_packaged_in_jobs_of_their_own(
    platform: Platform, say: Say
) -> None:
    code, out, err = say("pretrain", "tiles", "--run", "first", *TINIEST, *MACHINE, "--instance-count", 2)
    assert code == 0, out + err
    assert "2 processes over gloo" in out
    assert "checkpoints/step_00000026.safetensors" in objects(platform, "runs/first/")
    told = platform.client("sagemaker").describe_training_job(TrainingJobName=name_of(platform))
    measured = {metric["MetricName"]: metric["Value"] for metric in told["FinalMetricDataList"]}
    assert measured["pretrain:loss"] == pytest.approx(float(out.partition(" loss ")[2].split()[0]))
    assert measured["pretrain:epoch"] == 2
    assert measured["pretrain:images_per_second"] > 0

    code, out, _ = say("probe", "mosaics", "--run", "first", *MACHINE)
    assert code == 0, out
    assert "validation macro AP" in out
    code, out, _ = say("package", "--run", "first", "--name", "first", "--version", "1.10", *MACHINE)
    assert code == 0, out
    model = json.loads(
        platform.client("s3").get_object(Bucket=BUCKET, Key="runs/first/artifact/model.json")["Body"].read()
    )
    assert (model["name"], model["version"]) == ("first", "1.10")
    assert objects(platform, f"jobs/{name_of(platform)}/output/") == ["model.tar.gz"]


def test_the_spot_market_takes_the_machine_and_the_job_goes_on_where_it_was(platform: Platform) -> None:
    with meanwhile(
        "pretrain", "tiles", "--run", "spot", *TINIEST, *SAVING, "--epochs", "6", *MACHINE, "--spot"
    ) as ended:
        wait_for(platform, "runs/spot/", ".safetensors")
        platform.interrupt(name_of(platform))
    assert ended == [0]
    assert any("continues" in line for line in platform.lines("TrainingJobs", name_of(platform)))
    assert platform.requests("CreateTrainingJob")[-1]["StoppingCondition"]["MaxWaitTimeInSeconds"] == 2 * 24 * 3600


def test_a_stopped_job_saves_a_checkpoint_and_the_same_command_goes_on(platform: Platform, say: Say) -> None:
    line = ("pretrain", "tiles", "--run", "stopped", *TINIEST, "--epochs", "60", *MACHINE)
    with meanwhile(*line) as ended:
        wait_for(platform, "runs/stopped/", "metrics.jsonl")
        other = say("pretrain", "tiles", "--run", "stopped", *TINIEST, "--epochs", "61", *MACHINE)
        assert "epochs was 60.0, now 61.0" in other[2]
        assert "is at work on stopped" in say(*line, "--knn-every", "7")[2]
        assert say("stop", name_of(platform))[:2] == (0, f"{name_of(platform)} is told to stop\n")
    assert ended == [1]
    assert platform.wait(name_of(platform))["TrainingJobStatus"] == "Stopped"
    assert any("stopped" in line for line in platform.lines("TrainingJobs", name_of(platform)))
    assert any(key.endswith(".safetensors") for key in objects(platform, "runs/stopped/checkpoints/"))
    assert say("stop", name_of(platform))[1].endswith("is Stopped already\n")


def test_a_store_is_made_of_imagery_in_s3(platform: Platform, say: Say, tmp_path: Path) -> None:
    for file in sorted(eurosat_like(tmp_path / "eurosat", each=4).rglob("*.jpg")):
        key = f"tiles/eurosat/{file.relative_to(tmp_path / 'eurosat')}"
        platform.client("s3").upload_file(str(file), BUCKET, key)
    line = ("prepare", "eurosat", f"s3://{BUCKET}/tiles/eurosat/", "--out", "made", *MACHINE)
    code, out, err = say(*line)
    assert code == 0, out + err
    assert {"store.json", "images.npy", "index.parquet"} <= set(objects(platform, "stores/made/"))
    begun = len(platform.requests("CreateProcessingJob"))
    assert say(*line)[0] == 0  # it is made
    assert len(platform.requests("CreateProcessingJob")) == begun
    assert "in_use" in say(*line, "--surface")[2]
    assert "in_use" in say(*line[:4], "tiles", *MACHINE)[2]  # which was uploaded
    assert "none would be started" in say(*line, "--dry-run")[2]
    assert len(platform.requests("CreateProcessingJob")) == begun
    platform.client("s3").delete_object(Bucket=BUCKET, Key="stores/made/store.json")
    assert say(*line)[0] == 0
    assert "store.json" in objects(platform, "stores/made/")


def test_a_dry_run_prints_the_request_and_sends_nothing(platform: Platform, say: Say, account: Account) -> None:
    before, begun = objects(platform, ""), len(platform.requests("CreateTrainingJob"))
    code, out, err = say("pretrain", "tiles", "--on", "sagemaker", "--epochs", "3", "--spot", "--dry-run")
    assert code == 0, err
    calls = [json.loads(line) for line in out.splitlines()]
    (request,) = (call["request"] for call in calls if call["operation"] == "CreateTrainingJob")
    assert objects(platform, "") == before
    assert len(platform.requests("CreateTrainingJob")) == begun
    expected: dict[str, Any] = {
        "RoleArn": account.outputs["TrainingRole"],
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800},
        "CheckpointConfig": {
            "S3Uri": f"s3://{BUCKET}/runs/tiles-vit_small_patch16_224/", "LocalPath": "/opt/ml/checkpoints",
        },
        "HyperParameters": {
            "command": "pretrain", "STORES": '["/opt/ml/input/data/tiles"]', "epochs": "3",
            "run": "/opt/ml/runs/tiles-vit_small_patch16_224",
        },
        "Environment": {"PYTHONUNBUFFERED": "1"},
    }  # fmt: skip
    assert {key: request[key] for key in expected} == expected
    assert request["OutputDataConfig"]["S3OutputPath"] == f"s3://{BUCKET}/jobs"
    assert request["ResourceConfig"]["InstanceType"] == "ml.g5.2xlarge"
    assert "pytorch" in request["AlgorithmSpecification"]["TrainingImage"]
    assert {"Key": "aerial-featurizer:stack", "Value": STACK} in request["Tags"]
    channels = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in request["InputDataConfig"]}
    assert channels["tiles"] == f"s3://{BUCKET}/stores/tiles/"
    assert channels["code"].startswith(f"s3://{BUCKET}/jobs/{request['TrainingJobName']}/")


def test_what_a_job_would_find_out_late_is_said_before_it_costs_anything(
    platform: Platform, say: Say, tiles: Path, tmp_path: Path
) -> None:
    begun = len(platform.requests("CreateTrainingJob"))

    def refused(*line: object) -> str:
        code, _, err = say(*line, "--on", "sagemaker")
        assert code == 1
        return err

    assert "upload store" in refused("pretrain", tiles)
    assert "no_store" in refused("pretrain", "oceans")
    assert "no_run" in refused("probe", "tiles", "--run", "nothing")
    s3 = platform.client("s3")
    s3.put_object(Bucket=BUCKET, Key="runs/full/notes.txt", Body=b"mine")
    assert "holds something else" in refused("pretrain", "tiles", "--run", "full")
    assert "is a name" in refused("pretrain", "tiles", "--run", "runs/full")
    (tmp_path / "first.pth").touch()
    assert "lies on this machine" in refused("pretrain", "tiles", "--init", tmp_path / "first.pth")
    assert "no_smddp" in refused("pretrain", "tiles", "--backend", "smddp")
    assert "upload bands" in refused("prepare", "eurosat", tmp_path, "--out", "made")
    assert len(platform.requests("CreateTrainingJob")) == begun


def test_smddp_is_started_by_the_toolkit_of_an_image_that_has_it(say: Say) -> None:
    line = ("pretrain", "tiles", "--backend", "smddp", "--image", "1.dkr.ecr.eu-central-1.amazonaws.com/pytorch:2.4.1")
    code, out, _ = say(*line, "--on", "sagemaker", "--instance-type", "ml.p4d.24xlarge", "--dry-run")
    assert code == 0
    calls = [json.loads(line) for line in out.splitlines()]
    (request,) = (call["request"] for call in calls if call["operation"] == "CreateTrainingJob")
    said = request["HyperParameters"]
    assert json.loads(said["sagemaker_program"]) == "training/run.py"
    assert json.loads(said["sagemaker_submit_directory"]).endswith("/sourcedir.tar.gz")
    assert said["sagemaker_distributed_dataparallel_enabled"] == "true"
    assert "ContainerEntrypoint" not in request["AlgorithmSpecification"]  # the image's own
