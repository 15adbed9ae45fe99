"""Another transform of just what failed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from deploy import storage, transforms
from deploy.account import Account
from deploy.answers import Failure
from deploy.errors import DeployError
from deploy.outputs import Output
from deploy.storage import Address


def resubmit(account: Account, output: Output, failures: Sequence[Failure]) -> str:
    """Begins a job as the one before, on the inputs that failed in it, and returns its name."""
    job, failed = transforms.new_name(account), [failure for failure in failures if failure.job == output.job]
    s3 = account.client("s3")
    lines = [failure.instance for failure in failed if failure.instance is not None]
    if output.is_manifest and len(lines) == len(failed):
        source, data_type = transforms.home(account, job) / "manifest.jsonl", transforms.ONE_A_FILE
        content = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
        storage.write(s3, source, content, transforms.LINES)
    else:
        source, data_type = transforms.home(account, job) / "inputs.json", "ManifestFile"
        wanted = {failure.source for failure in failed}
        found = [(path, address) for path, address in output.inputs(account).items() if str(address) in wanted]
        storage.write(s3, source, json.dumps(listed(found)).encode(), "application/json")
    request = transforms.again(account, job, dict(output.described), source, data_type)
    account.client("sagemaker").create_transform_job(**request)
    return job


def listed(found: Sequence[tuple[str, Address]]) -> list[object]:
    """SageMaker's manifest of some inputs, by the paths that they had, so that their answers have the same names.

    Raises DeployError no_input where there are none.
    """
    if not found:
        raise DeployError("no_input", "The inputs that failed are no longer there.")
    path, address = found[0]
    prefix = Address(address.bucket, address.key.removesuffix(path))
    return [{"prefix": str(prefix)}, *(path for path, _ in found)]
