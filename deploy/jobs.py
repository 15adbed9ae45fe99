"""Jobs on SageMaker, made by its SDK: what is trained by ModelTrainer, what is prepared by FrameworkProcessor."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any

from deploy import sources
from deploy.account import Account
from deploy.errors import DeployError
from deploy.job_requests import Machines, Request, base_name

CHECKPOINTS = "/opt/ml/checkpoints"
RUN_TAG = "aerial-featurizer:run"
IMAGE = "pytorch-amzn2023"
START = "exec python3 -m training.inside"  #: takes the shell's place, so that SIGTERM arrives
SMDDP = (
    "sagemaker_distributed_dataparallel_enabled"  #: hyperparameter of the training toolkit in images up to torch 2.4
)
NUMBER = r"([-+0-9.eE]+)"
#: names of metrics → what they look like in a log: lines of training/progress.py, and of `probe` and `refresh`
METRICS = {
    "pretrain:loss": rf"pretrain: .*\bloss {NUMBER}",
    "pretrain:epoch": rf"pretrain: .*\bepoch {NUMBER}",
    "pretrain:images_per_second": rf"pretrain: .* {NUMBER}/s",
    "probe:macro_average_precision": rf"validation macro AP {NUMBER},",
    "gate:difference": rf"gate: .*a difference of {NUMBER},",
}
TELEMETRY_OFF = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}


def train(account: Account, request: Request, machines: Machines) -> str:
    """Starts a training job and returns its name, which a dry run has none of."""
    _prepare_sdk()
    from sagemaker.core.shapes import MetricDefinition
    from sagemaker.core.training.configs import (
        CheckpointConfig,
        Compute,
        InputData,
        OutputDataConfig,
        SourceCode,
        StoppingCondition,
        Tag,
    )
    from sagemaker.train import ModelTrainer

    base, longest = base_name(account, request), machines.seconds
    tags = [*account.tags, {"Key": RUN_TAG, "Value": request.name}]
    with sources.staged() as code:
        archive = code.with_name(sources.ARCHIVE)
        by_toolkit = _toolkit(account, archive, base) if request.smddp else {}
        trainer = ModelTrainer(
            sagemaker_session=_session(account),
            training_image=machines.image or image(account, machines.instance_type),
            role=account.outputs["TrainingRole"],
            base_job_name=base,
            input_s3_key_prefix="jobs",
            source_code=None if request.smddp else SourceCode(source_dir=str(archive), command=START),
            compute=Compute(
                instance_type=machines.instance_type,
                instance_count=machines.instance_count,
                volume_size_in_gb=machines.volume_gb,
                enable_managed_spot_training=machines.spot,
            ),
            stopping_condition=StoppingCondition(
                max_runtime_in_seconds=longest, max_wait_time_in_seconds=2 * longest if machines.spot else None
            ),
            checkpoint_config=CheckpointConfig(
                s3_uri=f"s3://{account.bucket}/runs/{request.name}/", local_path=CHECKPOINTS
            ),
            output_data_config=OutputDataConfig(s3_output_path=f"s3://{account.bucket}/jobs"),
            hyperparameters={**request.hyperparameters, **by_toolkit},
            environment={"PYTHONUNBUFFERED": "1"},
            tags=[Tag(key=tag["Key"], value=tag["Value"]) for tag in tags],
        ).with_metric_definitions([MetricDefinition(name=name, regex=regex) for name, regex in METRICS.items()])
        data = [InputData(channel_name=name, data_source=place) for name, place in request.channels.items()]
        with _not_made() if account.dry_run else nullcontext():
            trainer.train(input_data_config=data, wait=False, logs=False)
    return "" if account.dry_run else str(trainer._latest_training_job.training_job_name)


def process(account: Account, request: Request, machines: Machines) -> str:
    """Starts a processing job that makes a store, and returns its name."""
    _prepare_sdk()
    from sagemaker.core.processing import FrameworkProcessor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output

    def brought(name: str, place: str) -> Any:
        where = ProcessingS3Input(
            s3_uri=place, local_path=f"/opt/ml/processing/input/{name}", s3_data_type="S3Prefix", s3_input_mode="File"
        )
        return ProcessingInput(input_name=name, s3_input=where)

    made = ProcessingS3Output(
        s3_uri=f"s3://{account.bucket}/stores/{request.name}",
        local_path="/opt/ml/processing/output",
        s3_upload_mode="EndOfJob",  # so that half a store is never there
    )
    name = f"{base_name(account, request)}-{datetime.now(UTC):%Y%m%d%H%M%S}"  # the SDK would shorten the base
    processor = FrameworkProcessor(
        sagemaker_session=_session(account),
        image_uri=machines.image or image(account, machines.instance_type),
        role=account.outputs["TrainingRole"],
        command=["exec", "python3", "-m", "training.inside"],
        instance_type=machines.instance_type,
        instance_count=1,
        volume_size_in_gb=machines.volume_gb,
        max_runtime_in_seconds=machines.seconds,
        code_location=f"s3://{account.bucket}/jobs",
        env={"PYTHONUNBUFFERED": "1"},
        tags=[*account.tags, {"Key": RUN_TAG, "Value": request.name}],
    )
    with sources.staged() as code:
        processor.run(
            code="training/run.py",
            source_dir=str(code),
            requirements="none",  # training.inside installs them, and keeps the image's torch
            inputs=[brought(name, place) for name, place in request.channels.items()],
            outputs=[ProcessingOutput(output_name="store", s3_output=made)],
            arguments=list(request.line),
            job_name=name,
            wait=False,
            logs=False,
        )
    return name


def image(account: Account, instance_type: str) -> str:
    """SageMaker's newest training image with torch, for a GPU or without."""
    _prepare_sdk()
    from sagemaker.core import image_uris

    try:
        return str(
            image_uris.retrieve(IMAGE, region=account.region, instance_type=instance_type, image_scope="training")
        )
    except ValueError as error:
        detail = f"{' '.join(str(error).split())} Say --image, or take another instance type or region."
        raise DeployError("no_image", detail) from None


@contextmanager
def _not_made() -> Iterator[None]:
    """Within, the SDK may look for the job that a dry run has not made."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.operation_name != "DescribeTrainingJob":
            raise


def _toolkit(account: Account, archive: Any, base: str) -> dict[str, str]:
    """Hyperparameters by which the toolkit in older images finds the code and starts it with SMDDP's launcher."""
    key = f"jobs/{base}/{sources.ARCHIVE}"
    account.client("s3").put_object(
        Bucket=account.bucket, Key=key, Body=archive.read_bytes(), ChecksumAlgorithm="SHA256"
    )
    said = {
        "sagemaker_program": "training/run.py",
        "sagemaker_submit_directory": f"s3://{account.bucket}/{key}",
        "sagemaker_region": account.region,
    }
    return {name: json.dumps(value) for name, value in said.items()} | {SMDDP: "true"}


def _session(account: Account) -> Any:
    from sagemaker.core.helper.session_helper import Session

    return Session(account.session, default_bucket=account.bucket, sagemaker_config=TELEMETRY_OFF)


def _prepare_sdk() -> None:
    """It checks roles by a call that few may make, and tells more than people need."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"
    for name in ("sagemaker", "sagemaker.config", "sagemaker.core", "sagemaker.core.utils.utils", "sagemaker.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
