"""`watch` and `stop`: a job that somebody started, followed by its name."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from deploy import jobs
from deploy.account import Account
from tests.conftest import ROOT
from tests.sagemaker.platform import Platform
from tests.training.jobs.conftest import Say
from tests.waiting import wait_until
from training.job_record import JobRecord
from training.progress import Progress

SHOWN = "pretrain: 320/640 images (50%), 123.4/s, 3 min left epoch 1.2 loss 4.321"
LATER = "case $HOME in *algo-2*) sleep 2; esac"  # one machine is heard before the other


def begin(account: Account, name: str, script: str, hosts: int = 1) -> str:
    """A training job of a shell script."""
    account.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=account.outputs["TrainingRole"],
        AlgorithmSpecification={
            "TrainingImage": "image", "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/bash", "-c"],
            "ContainerArguments": [script],
        },
        OutputDataConfig={"S3OutputPath": f"s3://{account.bucket}/jobs"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )  # fmt: skip
    return name


def begin_processing(account: Account, name: str, script: str) -> str:
    """A processing job of a shell script."""
    account.client("sagemaker").create_processing_job(
        ProcessingJobName=name,
        RoleArn=account.outputs["TrainingRole"],
        AppSpecification={"ImageUri": "image", "ContainerEntrypoint": ["/bin/bash", "-c", script]},
        ProcessingResources={"ClusterConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}},
    )
    return name


def measure(account: Account, job: str, metric: str, value: float) -> None:
    account.client("cloudwatch").put_metric_data(
        Namespace="/aws/sagemaker/TrainingJobs",
        MetricData=[
            {
                "MetricName": metric, "Value": value, "Unit": "Percent", "Timestamp": datetime.now(UTC),
                "Dimensions": [{"Name": "Host", "Value": f"{job}/algo-1"}],
            }
        ],
    )  # fmt: skip


def test_lines_of_all_hosts_come_and_at_the_end_stand_in_a_log_beside_a_plot(
    account: Account, say: Say, tmp_path: Path
) -> None:
    job = begin(account, "watched", f"sleep 3; {LATER}; echo '{SHOWN}'; echo done by $HOME", hosts=2)
    for metric, value in (("GPUUtilization", 87.0), ("CPUUtilization", 143.0)):
        measure(account, job, metric, value)
    measured = time.monotonic()
    wait_until(lambda: time.monotonic() - measured > 1.1)  # whoever comes later sees it, too; metrics go by the second
    code, out, err = say("watch", job, "--out", tmp_path / "kept")
    assert code == 0
    assert sorted(line for line in out.splitlines() if SHOWN in line) == [f"algo-1 {SHOWN}", f"algo-2 {SHOWN}"]
    assert "watched is Completed" in err
    assert "watch: loss 4.321, GPU 87 %, CPU 143 %; kept in " in err
    assert (tmp_path / "kept" / "log.txt").read_text().count("done by") == 2
    with Image.open(tmp_path / "kept" / "plot.png") as plot:
        assert plot.size == (1080, 720)


def test_why_a_job_failed_is_said_and_it_is_an_error(account: Account, say: Say) -> None:
    job = begin(account, "fails", "sleep 0.3; echo 'ValueError: no room' > $HOME/output/failure; exit 1")
    code, _, err = say("watch", job)
    assert code == 1
    assert "fails is Failed: AlgorithmError: ValueError: no room" in err
    code, _, err = say("watch", "nobody")
    assert code == 1
    assert "not_found" in err


def test_ctrl_c_leaves_the_job_running_and_stop_ends_it(account: Account, platform: Platform, say: Say) -> None:
    job = begin(account, "left", "trap 'echo told to end; exit 0' TERM; echo begun; while true; do sleep 0.1; done")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "training/run.py"), "watch", job],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "left goes on" in err
    assert account.client("sagemaker").describe_training_job(TrainingJobName=job)["TrainingJobStatus"] == "InProgress"
    assert say("stop", job) == (0, "left is told to stop\n", "")
    platform.wait(job)
    assert "told to end" in platform.lines("TrainingJobs", job)


def test_a_processing_job_is_watched_and_stopped_by_its_name_alone(
    account: Account, platform: Platform, say: Say, tmp_path: Path
) -> None:
    job = begin_processing(account, "made", "echo stored")
    code, out, err = say("watch", job, "--out", tmp_path / "kept")
    assert (code, out) == (0, "stored\n"), err
    assert say("stop", job) == (0, "made is Completed already\n", "")
    job = begin_processing(account, "endless", "trap 'exit 0' TERM; while true; do sleep 0.1; done")
    assert say("stop", job) == (0, "endless is told to stop\n", "")
    assert platform.wait(job)["ProcessingJobStatus"] == "Stopped"


def test_what_a_log_shows_is_what_metrics_read_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("pretrain", 640, "images") as progress:
        progress.advance(640, epoch=1.25, loss=3.9e-05)
    line = capsys.readouterr().err
    read = {}
    for name, regex in jobs.METRICS.items():
        if found := re.search(regex, line):
            read[name] = float(found[1])
    assert read.pop("pretrain:images_per_second") > 0
    assert read == {"pretrain:loss": 3.9e-05, "pretrain:epoch": 1.25}


def test_a_plot_shows_what_was_measured_and_says_what_was_not(tmp_path: Path) -> None:
    record, start = JobRecord("aerial-featurizer-0f0f0f-pretrain-12345678-20261121093000"), datetime.now(UTC)
    for minute in range(90):
        at = start + timedelta(minutes=minute)
        record.add(at, "algo-1", f"pretrain: 1/2 images (50%), 9.0/s epoch {minute / 9:.4g} loss {9 - minute / 20:.4g}")
    record.use = {
        "GPUUtilization": [(start + timedelta(minutes=m), 80 + m % 15) for m in range(90)],
        "CPUUtilization": [(start + timedelta(minutes=m), 150 + m % 40) for m in range(90)],
        "MemoryUtilization": [(start + timedelta(minutes=m), 20 + m / 9) for m in range(90)],
    }
    assert record.figures() == "loss 4.55, GPU 94 %, CPU 159 %, memory 30 %"
    record.draw(tmp_path / "plot.png")
    full = (tmp_path / "plot.png").read_bytes()
    Image.open(io.BytesIO(full)).verify()
    record.use = {}
    record.draw(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes() != full
