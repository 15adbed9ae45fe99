"""Training jobs whose entry points are processes; those of the SDK with its own scripts around them."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sagemaker.conftest import BUCKET, Account
from tests.waiting import wait_until

MEETING = """
import json, os, pathlib, sys
import torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print("loss: 0.5;", flush=True)
if dist.get_rank() == 0:
    print(f"total {total.item()} of {dist.get_world_size()}, {sys.argv[1:3]}", flush=True)
    tiles = sorted(path.name for path in pathlib.Path(os.environ["SM_CHANNEL_TILES"]).iterdir())
    pathlib.Path(os.environ["SM_MODEL_DIR"], "model.json").write_text(json.dumps(tiles))
    pathlib.Path("/opt/ml/checkpoints/last").write_text("step 1")
dist.destroy_process_group()
"""
COUNTING = """
import pathlib, time
place = pathlib.Path("/opt/ml/checkpoints/step")
step = int(place.read_text()) if place.exists() else 0
print("begins at", step, flush=True)
is_first = step == 0
while step < 25:
    step += 1
    place.with_name("next").write_text(str(step))
    place.with_name("next").replace(place)
    time.sleep(600 if is_first and step == 10 else 0.05)
pathlib.Path("/opt/ml/model/step").write_text(str(step))
"""


def members(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: file.read() for member in tar if (file := tar.extractfile(member)) is not None}


def start(account: Account, name: str, script: str, hosts: int = 1, **more: Any) -> None:
    account.put("code/train.py", script.encode())
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": account.uri("code")}}
    entry = {"ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/train.py"]}
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": account.role,
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File", **entry},
        "InputDataConfig": [{"ChannelName": "code", "DataSource": source}],
        "OutputDataConfig": {"S3OutputPath": account.uri("jobs")},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": hosts, "VolumeSizeInGB": 1},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    account.client("sagemaker").create_training_job(**{**request, **more})


def told(account: Account, name: str) -> dict[str, Any]:
    job: dict[str, Any] = account.client("sagemaker").describe_training_job(TrainingJobName=name)
    return job


def wait_for(account: Account, key: str) -> None:
    wait_until(lambda: account.keys(key))


def test_the_sdk_trains_on_two_hosts_with_torchrun(account: Account, tmp_path: Path) -> None:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training.configs import CheckpointConfig, Compute, InputData, OutputDataConfig, SourceCode
    from sagemaker.train import ModelTrainer
    from sagemaker.train.distributed import Torchrun

    for name in ("b.tif", "a.tif"):
        account.put(f"tiles/{name}", b"tile")
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text(MEETING)
    trainer = ModelTrainer(
        sagemaker_session=Session(boto3.Session(), default_bucket=BUCKET),
        training_image="123456789012.dkr.ecr.eu-central-1.amazonaws.com/training:1",
        role=account.role,
        base_job_name="tiny",
        source_code=SourceCode(source_dir=str(tmp_path / "code"), entry_script="train.py"),
        compute=Compute(instance_type="ml.g5.xlarge", instance_count=2),
        distributed=Torchrun(process_count_per_node=1),
        hyperparameters={"folder": "/opt/ml/checkpoints"},
        checkpoint_config=CheckpointConfig(s3_uri=account.uri("runs/tiny"), local_path="/opt/ml/checkpoints"),
        output_data_config=OutputDataConfig(s3_output_path=account.uri("jobs")),
    )
    trainer.train(input_data_config=[InputData(channel_name="tiles", data_source=account.uri("tiles/"))], wait=False)
    name = trainer._latest_training_job.training_job_name
    account.platform.wait(name)
    job, log = told(account, name), account.platform.lines("TrainingJobs", name)
    assert job["TrainingJobStatus"] == "Completed", "\n".join(log)
    assert any(line.startswith("total 3.0 of 2, ['--folder', ") for line in log)
    assert account.get(account.uri("runs/tiny/last")) == b"step 1"
    archive = members(account.get(job["ModelArtifacts"]["S3ModelArtifacts"]))
    assert {name: json.loads(body) for name, body in archive.items()} == {"model.json": ["a.tif", "b.tif"]}
    passed = [one["Status"] for one in job["SecondaryStatusTransitions"]]
    assert passed == ["Starting", "Downloading", "Training", "Uploading", "Completed"]


def test_a_spot_job_taken_from_its_instance_goes_on_from_what_was_synchronised(account: Account) -> None:
    limits = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 600}
    config = {"S3Uri": account.uri("runs/one")}
    spot: dict[str, Any] = {"EnableManagedSpotTraining": True, "StoppingCondition": limits, "CheckpointConfig": config}
    start(account, "spot", COUNTING, **spot)
    wait_for(account, "runs/one/step")
    account.platform.interrupt("spot")
    account.platform.wait("spot")
    first, second = (line for line in account.platform.lines("TrainingJobs", "spot") if line.startswith("begins"))
    assert first == "begins at 0"
    assert int(second.removeprefix("begins at ")) > 0
    job = told(account, "spot")
    assert job["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in [one["Status"] for one in job["SecondaryStatusTransitions"]]
    assert members(account.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"step": b"25"}


def test_stopped_it_is_told_by_sigterm_and_keeps_what_it_wrote(account: Account) -> None:
    script = """
import pathlib, signal, sys, time
def end(*_):
    pathlib.Path("/opt/ml/model/last").write_text("words")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path("/opt/ml/checkpoints/begun").touch()
time.sleep(600)
"""
    start(account, "long", script, CheckpointConfig={"S3Uri": account.uri("runs/long")})
    wait_for(account, "runs/long/begun")
    sagemaker = account.client("sagemaker")
    sagemaker.stop_training_job(TrainingJobName="long")
    account.platform.wait("long")
    job = told(account, "long")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert members(account.get(job["ModelArtifacts"]["S3ModelArtifacts"])) == {"last": b"words"}
    with pytest.raises(ClientError, match="in status Stopped"):
        sagemaker.stop_training_job(TrainingJobName="long")


def test_time_that_is_up_stops_it(account: Account) -> None:
    start(account, "late", "import time; time.sleep(600)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    account.platform.wait("late")
    job = told(account, "late")
    assert (job["TrainingJobStatus"], job["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_one_host_that_fails_ends_all_with_its_words(account: Account) -> None:
    script = """
import json, pathlib, sys, time
config = json.loads(pathlib.Path("/opt/ml/input/config/resourceconfig.json").read_text())
if config["current_host"] == "algo-2":
    pathlib.Path("/opt/ml/output/failure").write_text("no tile is good")
    sys.exit(3)
time.sleep(600)
"""
    start(account, "bad", script, hosts=2)
    account.platform.wait("bad")
    job = told(account, "bad")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: no tile is good, exit code: 3"


def test_a_channel_can_be_shared_out_and_an_empty_one_fails_the_job(account: Account) -> None:
    script = """
import pathlib
print("has", *sorted(path.name for path in pathlib.Path("/opt/ml/input/data/tiles").rglob("*.tif")), flush=True)
print("loss: 0.25;", flush=True)
"""
    for index in range(5):
        account.put(f"tiles/{index}.tif", b"tile")
    code = {"S3DataType": "S3Prefix", "S3Uri": account.uri("code")}
    tiles = {"S3DataType": "S3Prefix", "S3DataDistributionType": "ShardedByS3Key"}

    def channels(prefix: str) -> list[dict[str, Any]]:
        sources = {"code": code, "tiles": {**tiles, "S3Uri": account.uri(prefix)}}
        return [{"ChannelName": name, "DataSource": {"S3DataSource": source}} for name, source in sources.items()]

    start(account, "shared", script, hosts=2, InputDataConfig=channels("tiles/"))
    start(account, "empty", script, InputDataConfig=channels("none/"))
    for name in ("shared", "empty"):
        account.platform.wait(name)
    has = {line for line in account.platform.lines("TrainingJobs", "shared") if line.startswith("has")}
    assert has == {"has 0.tif 2.tif 4.tif", "has 1.tif 3.tif"}
    assert "No S3 objects found" in told(account, "empty")["FailureReason"]


def test_metrics_are_read_from_what_it_prints(account: Account) -> None:
    entry = ["/bin/bash", "-c", "echo 'loss: 0.5;'; echo 'loss: 0.25;'"]
    metric = {"Name": "loss", "Regex": r"loss: ([0-9.]+);"}
    algorithm = {"TrainingImage": "image", "TrainingInputMode": "File", "ContainerEntrypoint": entry}
    start(account, "said", "", AlgorithmSpecification={**algorithm, "MetricDefinitions": [metric]})
    account.platform.wait("said")
    assert [(one["MetricName"], one["Value"]) for one in told(account, "said")["FinalMetricDataList"]] == [
        ("loss", 0.25)
    ]


def test_without_the_network_no_api_is_reached(account: Account) -> None:
    script = """
import boto3
from botocore.config import Config
boto3.client("s3", config=Config(connect_timeout=2, retries={"max_attempts": 0})).list_buckets()
"""
    start(account, "alone", script, EnableNetworkIsolation=True)
    account.platform.wait("alone")
    assert told(account, "alone")["TrainingJobStatus"] == "Failed"
    start(account, "connected", script)
    account.platform.wait("connected")
    assert told(account, "connected")["TrainingJobStatus"] == "Completed"
