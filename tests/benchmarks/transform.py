"""A batch transform that follows /execution-parameters, against one that has no such word: one request at a time.

    python -m tests.benchmarks.transform [--objects 500] [--rounds 3]

The bundled starter on one emulated instance (this machine), GeoTIFFs of 120 × 120 px from the emulated S3 over real
HTTP. Both take turns. Prints objects a second, from the first answer to the last, so without the start of the
container, and the ratio.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from service.model.artifact import STARTER
from tests.imagery import geotiff, reflectance
from tests.sagemaker.conftest import BUCKET, Account, furnish, model_tar
from tests.sagemaker.platform import Platform

WAYS: dict[str, dict[str, Any]] = {
    "with /execution-parameters": {},
    "one request at a time": {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 6},  # what holds without the route
}


def objects_a_second(account: Account, name: str, count: int, **more: Any) -> float:
    """Of one transform of all tiles."""
    account.client("sagemaker").create_transform_job(
        TransformJobName=name,
        ModelName="starter",
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": account.uri("tiles/")}},
            "ContentType": "image/tiff; bands=B04,B03,B02",
        },
        TransformOutput={"S3OutputPath": account.uri(f"out/{name}"), "Accept": "application/json"},
        TransformResources={"InstanceType": "ml.c5.xlarge", "InstanceCount": 1},
        **more,
    )
    status = account.platform.wait(name, 600)["TransformJobStatus"]
    pages = account.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"out/{name}/")
    times = sorted(found["LastModified"].timestamp() for page in pages for found in page["Contents"])
    if (status, len(times)) != ("Completed", count):
        raise SystemExit(f"{name} is {status} with {len(times)} of {count} answers")
    return (count - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        platform = Platform(Path(folder))
        os.environ.update(platform.environment)
        account = furnish(platform)
        account.model("starter", model_tar(STARTER))
        some = [geotiff(reflectance(seed=seed), compress="deflate") for seed in range(16)]
        for i in range(asked.objects):
            account.put(f"tiles/{i:04}.tif", some[i % len(some)])
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for number in range(asked.rounds):
            for way, more in WAYS.items():
                name = f"round-{number}-{len(more)}"
                rates[way].append(objects_a_second(account, name, asked.objects, **more))
                print(f"round {number}, {way}: {rates[way][-1]:.1f} objects/s", flush=True)
        platform.close()
    medians = [statistics.median(rates[way]) for way in WAYS]
    ratios = [ours / other for ours, other in zip(*rates.values(), strict=True)]
    print(f"median {medians[0]:.1f} and {medians[1]:.1f} objects/s")
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


if __name__ == "__main__":
    main()
