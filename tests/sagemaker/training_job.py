"""A training job: channels in, an entry point on each host, checkpoints synchronised, the model out."""

from __future__ import annotations

import re
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.ports import HeldPort
from tests.sagemaker import jobs
from tests.sagemaker.jobs import Job, JobFailed
from tests.sagemaker.program import OPT_ML, Program
from tests.sagemaker.resources import TRAINING_JOB
from tests.sagemaker.storage import DownloadFailed
from tests.sagemaker.synchronisation import Synchronisation
from tests.sagemaker.training_host import Host

DAY_S = 86400
CHECKPOINTS = f"{OPT_ML}/checkpoints"
SAID = {
    "Starting": "Preparing the instances for training",
    "Downloading": "Downloading input data",
    "Training": "Training image download completed. Training in progress.",
    "Uploading": "Uploading generated training model",
    "Completed": "Training job completed",
    "Failed": "Training job failed",
    "Stopping": "Stopping the training job",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
    "Interrupted": "Training job interrupted by the spot market",
    "Restarting": "Restarting the training job",
}


class TrainingJob(Job):
    """Runs a CreateTrainingJob request."""

    kind = TRAINING_JOB

    def __init__(self, record: dict[str, Any], cloud: jobs.Cloud) -> None:
        super().__init__(record, cloud)
        self.hosts: list[Host] = []
        self.record["SecondaryStatusTransitions"] = []
        self._interrupted = threading.Event()
        self._log_lines: list[str] = []
        self._enter("Starting")

    def stop(self) -> None:
        super().stop()
        self._enter("Stopping")

    def interrupt(self) -> None:
        """As the spot market takes the instances: no last word, and new ones with what was synchronised."""
        assert self.record.get("EnableManagedSpotTraining"), "only spot instances are taken back"
        self._interrupted.set()

    def run(self) -> None:
        self.limit(DAY_S)
        code = self._attempt()
        while self._interrupted.is_set():
            self._interrupted.clear()
            self._enter("Interrupted")
            self._enter("Restarting")
            code = self._attempt()
        if code:
            raise JobFailed(self._reason(code))
        self._upload()

    def ended(self, ending: dict[str, Any]) -> None:
        status = ending["TrainingJobStatus"]
        late = status == "Stopped" and not self.asked_to_stop.is_set()
        if status == "Stopped":
            self._upload()
        self._enter("MaxRuntimeExceeded" if late else status)
        seconds = int(time.time() - self.record[self.started_key])
        metrics = list(self._metrics())
        self._say(TrainingTimeInSeconds=seconds, BillableTimeInSeconds=seconds, FinalMetricDataList=metrics)

    def _attempt(self) -> int:
        """The exit code of all hosts, on new instances."""
        self._enter("Downloading")
        count, stamp = self.record["ResourceConfig"]["InstanceCount"], int(time.time() * 1000)
        self.hosts = [Host(index, count, self.name, stamp, self.cloud) for index in range(count)]
        port = HeldPort()
        try:
            for host in self.hosts:
                host.furnish(self.record, self.cloud.storage, port.number)
        except DownloadFailed as error:
            raise JobFailed(str(error)) from None
        synchronised: list[Synchronisation] = []
        try:
            synchronised += [self._synchronise(host) for host in self.hosts]
            self._enter("Training")
            return self._watch([self._start(host) for host in self.hosts])
        finally:
            for one in synchronised:
                one.close(last=not self._interrupted.is_set())
            port.close()
            self._log_lines += [line for host in self.hosts for _, line in host.log.lines]

    def _watch(self, programs: list[Program]) -> int:
        taken = threading.Thread(target=self._take, args=(programs,), daemon=True)
        taken.start()
        return self.watch(programs)

    def _take(self, programs: list[Program]) -> None:
        while any(program.is_running() for program in programs):
            if self._interrupted.wait(jobs.LOOK_EVERY_S):
                jobs.end_all(programs, 0)

    def _start(self, host: Host) -> Program:
        algorithm = self.record["AlgorithmSpecification"]
        entry = algorithm.get("ContainerEntrypoint")
        if entry is None:
            raise JobFailed("ClientError: the emulator knows no image; say ContainerEntrypoint")
        environment = {
            **self.cloud.environment(self.record.get("EnableNetworkIsolation", False)),
            "TRAINING_JOB_NAME": self.name,
            "TRAINING_JOB_ARN": self.record["TrainingJobArn"],
            **self.record.get("Environment", {}),
        }
        return Program([*entry, *algorithm.get("ContainerArguments", [])], host.root, environment, host.log)

    def _synchronise(self, host: Host) -> Synchronisation:
        config = self.record.get("CheckpointConfig", {})
        folder = host.root.path(config.get("LocalPath") or CHECKPOINTS)
        return Synchronisation(self.cloud.storage, folder, config.get("S3Uri"))

    def _reason(self, code: int) -> str:
        said = [host.root.folder / "output/failure" for host in self.hosts]
        text = next((file.read_text() for file in said if file.exists()), "")
        return f"AlgorithmError: {text[:950]}, exit code: {code}"

    def _upload(self) -> None:
        self._enter("Uploading")
        output = f"{self.record['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"
        for inside, name in (("model", "model.tar.gz"), ("output/data", "output.tar.gz")):
            archive = self.cloud.folder / f"{self.name}-{name}"
            if _pack([host.root.folder / inside for host in self.hosts], archive):
                self.cloud.storage.upload(archive, f"{output}/{name}")
        self._say(ModelArtifacts={"S3ModelArtifacts": f"{output}/model.tar.gz"})

    def _metrics(self) -> Any:
        for metric in self.record["AlgorithmSpecification"].get("MetricDefinitions", []):
            values = [found[1] for line in self._log_lines if (found := re.search(metric["Regex"], line))]
            if values:
                yield {"MetricName": metric["Name"], "Value": float(values[-1]), "Timestamp": time.time()}

    def _enter(self, status: str) -> None:
        """The next step, told in SecondaryStatus."""
        now, transitions = time.time(), self.record["SecondaryStatusTransitions"]
        if transitions:
            transitions[-1]["EndTime"] = now
        transitions.append({"Status": status, "StartTime": now, "StatusMessage": SAID[status]})
        self._say(SecondaryStatus=status)


def _pack(folders: list[Path], archive: Path) -> bool:
    """All files of all folders, flat at the archive's root, the first host's where names meet. False for none."""
    files = {str(file.relative_to(folder)): file for folder in reversed(folders) for file in folder.rglob("*")}
    with tarfile.open(archive, "w:gz", compresslevel=1, dereference=True) as tar:
        for name, file in sorted(files.items()):
            tar.add(file, name, recursive=False)
    return bool(files)
