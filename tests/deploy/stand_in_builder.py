"""Stands for docker where there is none: notes what it is told, and pushes a manifest as new versions do."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

OCI = "application/vnd.oci.image"
BUILT = {"architecture": "amd64", "os": "linux", "layers": "those of the checkout"}


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def manifest(compression: str = "gzip") -> str:
    layer = {"mediaType": f"{OCI}.layer.v1.tar+{compression}", "size": 7, "digest": digest("layer")}
    config = {"mediaType": f"{OCI}.config.v1+json", "size": 9, "digest": digest(json.dumps(BUILT))}
    kind = f"{OCI}.manifest.v1+json"
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]})


def push(address: str) -> None:
    import boto3

    name, _, tag = address.partition("/")[2].rpartition(":")
    boto3.client("ecr").put_image(
        repositoryName=name,
        imageManifest=manifest(os.environ.get("COMPRESSION", "gzip")),
        imageManifestMediaType=f"{OCI}.manifest.v1+json",
        imageTag=tag,
    )


def main() -> int:
    words = sys.argv[1:]
    typed = sys.stdin.read() if "--password-stdin" in words else ""
    with Path(os.environ["BUILDER_LOG"]).open("a") as log:
        log.write(json.dumps({"words": words, "typed": typed}) + "\n")
    if words[0] == os.environ.get("BUILDER_FAILS"):
        print("no space left on device", file=sys.stderr)
        return 3
    if words[0] == "build":
        Path(words[words.index("--iidfile") + 1]).write_text(digest(json.dumps(BUILT)))
    if words[0] == "push":
        push(words[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
