"""One instance of a training job: algo-1, algo-2, …, and what lies on it when the entry point begins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sagemaker.jobs import Cloud
from tests.sagemaker.resources import Record
from tests.sagemaker.storage import Storage

OF_CODE = {"code", "sm_drivers"}  # channels of the SDK, whose scripts say /opt/ml


class Host:
    """A root, a log, and a place among the hosts."""

    def __init__(self, index: int, count: int, job: str, stamp: int, cloud: Cloud) -> None:
        self.index, self.names = index, [f"algo-{number + 1}" for number in range(count)]
        self.name = self.names[index]
        self.root = cloud.root(f"{job}-{self.name}")
        self.log = cloud.stream("TrainingJobs", f"{job}/{self.name}-{stamp}")
        for folder in ("input/config", "input/data", "model", "output/data", "checkpoints"):
            (self.root.folder / folder).mkdir(parents=True)

    def furnish(self, job: Record, storage: Storage, port: int) -> None:
        """Configuration and channels. Raises DownloadFailed."""
        channels = job.get("InputDataConfig", [])
        self._write("resourceconfig", self._resources(job["ResourceConfig"]["InstanceType"]))
        self._write("hyperparameters", job.get("HyperParameters", {}))
        self._write("inputdataconfig", {channel["ChannelName"]: _told(channel) for channel in channels})
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            objects = storage.find(source["S3Uri"], source["S3DataType"])
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                objects = objects[self.index :: len(self.names)]
            folder = self.root.folder / "input/data" / channel["ChannelName"]
            folder.mkdir()
            storage.download(objects, folder)
            if channel["ChannelName"] in OF_CODE:
                self.root.place_in_code(folder)
        _meet_here(self.root.folder / "input/data/sm_drivers/scripts/environment.py", port)

    def _resources(self, kind: str) -> Record:
        group = {"instance_group_name": "homogeneousCluster", "instance_type": kind, "hosts": self.names}
        return {
            "current_host": self.name,
            "current_instance_type": kind,
            "current_group_name": "homogeneousCluster",
            "hosts": self.names,
            "instance_groups": [group],
            "network_interface_name": "lo",
        }

    def _write(self, name: str, content: Any) -> None:
        (self.root.folder / "input/config" / f"{name}.json").write_text(self.root.placed(json.dumps(content)))


def _told(channel: Record) -> dict[str, str]:
    """A channel in inputdataconfig.json."""
    source = channel["DataSource"]["S3DataSource"]
    return {
        "TrainingInputMode": channel.get("InputMode", "File"),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }


def _meet_here(script: Path, port: int) -> None:
    """The SDK's drivers meet at algo-1, port 7777, of a network of hosts; here the hosts are one machine."""
    if script.exists():
        text = script.read_text()
        text = text.replace('SM_MASTER_ADDR = "algo-1"', 'SM_MASTER_ADDR = "127.0.0.1"')
        script.write_text(text.replace("SM_MASTER_PORT = 7777", f"SM_MASTER_PORT = {port}"))
