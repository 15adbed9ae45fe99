"""A processing job: inputs in folders, an entry point, outputs to S3."""

from __future__ import annotations

import json
from typing import Any

from tests.sagemaker.jobs import Job, JobFailed, Stopped
from tests.sagemaker.program import Program, Root
from tests.sagemaker.resources import PROCESSING_JOB
from tests.sagemaker.storage import DownloadFailed
from tests.sagemaker.synchronisation import Synchronisation

DAY_S = 86400


class ProcessingJob(Job):
    """Runs a CreateProcessingJob request."""

    kind = PROCESSING_JOB

    def run(self) -> None:
        cluster = self.record["ProcessingResources"]["ClusterConfig"]
        names = [f"algo-{index + 1}" for index in range(cluster["InstanceCount"])]
        roots = [self.cloud.root(f"{self.name}-{name}") for name in names]
        try:
            for index, root in enumerate(roots):
                self._furnish(root, index, names, cluster["InstanceType"])
        except DownloadFailed as error:
            raise JobFailed(str(error)) from None
        self.limit(DAY_S)
        outputs = self.record.get("ProcessingOutputConfig", {}).get("Outputs", [])
        targets = [(root, one["S3Output"]) for root in roots for one in outputs if "S3Output" in one]
        continuous = [
            Synchronisation(self.cloud.storage, root.path(to["LocalPath"]), to["S3Uri"], bring=False)
            for root, to in targets
            if to["S3UploadMode"] == "Continuous"
        ]
        for root, to in targets:
            root.path(to["LocalPath"]).mkdir(parents=True, exist_ok=True)
        code, stopped = 0, False
        try:
            code = self.watch([self._start(root, name) for root, name in zip(roots, names, strict=True)])
        except Stopped:
            stopped = True
        for one in continuous:
            one.close()
        said = [root.folder / "output/message" for root in roots]
        message = next((file.read_text() for file in said if file.exists()), None)
        self._say(ExitMessage=message)
        if stopped:
            raise Stopped
        if code:
            raise JobFailed(f"AlgorithmError: {message or 'See job logs for more information'}, exit code: {code}")
        for root, to in targets:
            if to["S3UploadMode"] == "EndOfJob":
                self.cloud.storage.upload_folder(root.path(to["LocalPath"]), to["S3Uri"])

    def _furnish(self, root: Root, index: int, names: list[str], kind: str) -> None:
        config = root.folder / "config"
        config.mkdir()
        hosts = {"current_host": names[index], "hosts": names, "current_instance_type": kind}
        (config / "resourceconfig.json").write_text(json.dumps({**hosts, "network_interface_name": "lo"}))
        (config / "processingjobconfig.json").write_text(root.placed(json.dumps(self.record, default=str)))
        for one in self.record.get("ProcessingInputs", []):
            source: dict[str, Any] = one["S3Input"]
            objects = self.cloud.storage.find(source["S3Uri"], source["S3DataType"])
            if source.get("S3DataDistributionType") == "ShardedByS3Key":
                objects = objects[index :: len(names)]
            folder = root.path(source["LocalPath"])
            folder.mkdir(parents=True, exist_ok=True)
            self.cloud.storage.download(objects, folder)
            if one["InputName"] in {"code", "entrypoint", "aux"}:
                root.place_in_code(folder)

    def _start(self, root: Root, name: str) -> Program:
        app = self.record["AppSpecification"]
        if "ContainerEntrypoint" not in app:
            raise JobFailed("ClientError: the emulator knows no image; say ContainerEntrypoint")
        isolated = self.record.get("NetworkConfig", {}).get("EnableNetworkIsolation", False)
        environment = {
            **self.cloud.environment(isolated),
            "PROCESSING_JOB_NAME": self.name,
            "PROCESSING_JOB_ARN": self.record["ProcessingJobArn"],
            **self.record.get("Environment", {}),
        }
        log = self.cloud.stream("ProcessingJobs", f"{self.name}/{name}-{int(self.record[self.started_key])}")
        command = [*app["ContainerEntrypoint"], *app.get("ContainerArguments", [])]
        return Program(command, root, environment, log)
