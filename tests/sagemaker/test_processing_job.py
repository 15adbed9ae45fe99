"""Processing jobs, as the SDK's FrameworkProcessor asks for them."""

from __future__ import annotations

from pathlib import Path

import boto3

from tests.sagemaker.conftest import BUCKET, Account

SCRIPT = """
import pathlib, sys
names = sorted(path.name for path in pathlib.Path("/opt/ml/processing/input/tiles").iterdir())
pathlib.Path("/opt/ml/processing/output/store.json").write_text(" ".join(names))
print("arguments", sys.argv[1:], flush=True)
sys.exit(int(sys.argv[1]))
"""


def run(account: Account, folder: Path, code: str) -> str:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.processing import FrameworkProcessor
    from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output

    folder.mkdir()
    (folder / "prepare.py").write_text(SCRIPT)
    processor = FrameworkProcessor(
        image_uri="image",
        role=account.role,
        instance_count=1,
        instance_type="ml.m5.xlarge",
        command=["python3"],
        sagemaker_session=Session(boto3.Session(), default_bucket=BUCKET),
    )
    tiles = ProcessingS3Input(
        s3_uri=account.uri("tiles/"),
        local_path="/opt/ml/processing/input/tiles",
        s3_data_type="S3Prefix",
        s3_input_mode="File",
    )
    store = ProcessingS3Output(
        s3_uri=account.uri(f"stores/{code}"), local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob"
    )
    processor.run(
        code="prepare.py",
        source_dir=str(folder),
        inputs=[ProcessingInput(input_name="tiles", s3_input=tiles)],
        outputs=[ProcessingOutput(output_name="store", s3_output=store)],
        arguments=[code],
        wait=False,
        job_name=f"prepare-{code}",
    )
    account.platform.wait(f"prepare-{code}")
    told = account.client("sagemaker").describe_processing_job(ProcessingJobName=f"prepare-{code}")
    return f"{told['ProcessingJobStatus']} {told.get('FailureReason', '')}"


def test_inputs_come_outputs_go_and_the_exit_code_decides(account: Account, tmp_path: Path) -> None:
    for name in ("b.tif", "a.tif"):
        account.put(f"tiles/{name}", b"tile")
    assert run(account, tmp_path / "good", "0") == "Completed "
    assert account.get(account.uri("stores/0/store.json")) == b"a.tif b.tif"
    assert "arguments ['0']" in account.platform.lines("ProcessingJobs", "prepare-0")
    assert (
        run(account, tmp_path / "bad", "4") == "Failed AlgorithmError: See job logs for more information, exit code: 4"
    )
    assert account.keys("stores/4") == []
