"""A batch transform: the objects of a prefix through containers, one `.out` for each that was wholly processed."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tests.sagemaker import hosting
from tests.sagemaker.hosting import MB, BadModel, Container, NotHealthy, TimedOut
from tests.sagemaker.jobs import Cloud, Job, JobFailed, Stopped
from tests.sagemaker.journal import Stream
from tests.sagemaker.json_path import joined, selected
from tests.sagemaker.resources import TRANSFORM_JOB, Record
from tests.sagemaker.storage import DownloadFailed, Object
from tests.sagemaker.variant import container

FIVE_DAYS_S = 432_000
RETRIES, TIMEOUT_S = 3, 600  # where ModelClientConfig says nothing
ENVIRONMENT = {  # what the container is told of the job, if the job says it
    "BatchStrategy": "SAGEMAKER_BATCH_STRATEGY",
    "MaxConcurrentTransforms": "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS",
    "MaxPayloadInMB": "SAGEMAKER_MAX_PAYLOAD_IN_MB",
}
STRATEGIES = {"SINGLE_RECORD": "SingleRecord", "MULTI_RECORD": "MultiRecord"}


class ObjectFailed(Exception):
    """What the data log says of an object."""


@dataclass(frozen=True)
class Parameters:
    """How a container is asked: the job's word, else the container's, else the least."""

    concurrent: int = 1
    payload_mb: int = 6
    strategy: str = "MultiRecord"

    @classmethod
    def of(cls, job: Record, said: bytes | None) -> Parameters:
        route: dict[str, Any] = json.loads(said) if said else {}
        strategy = route.get("BatchStrategy", "MULTI_RECORD")
        return cls(
            job.get("MaxConcurrentTransforms") or route.get("MaxConcurrentTransforms", 1),
            job.get("MaxPayloadInMB", route.get("MaxPayloadInMB", 6)),
            job.get("BatchStrategy") or STRATEGIES.get(strategy, strategy),
        )

    @property
    def largest(self) -> int:
        """Bytes; 0 stands for no limit."""
        return self.payload_mb * MB or hosting.BATCH


class TransformJob(Job):
    """Runs a CreateTransformJob request."""

    kind = TRANSFORM_JOB

    def __init__(self, record: Record, cloud: Cloud, model: Record) -> None:
        super().__init__(record, cloud)
        self.model = model
        self.used: list[Parameters] = []  #: by instance
        client = record.get("ModelClientConfig", {})
        self.retries: int = client.get("InvocationsMaxRetries", RETRIES)
        self.timeout_s: float = client.get("InvocationsTimeoutInSeconds", TIMEOUT_S)
        self._failed: list[str] = []

    def run(self) -> None:
        source = self.record["TransformInput"]["DataSource"]["S3DataSource"]
        count = self.record["TransformResources"]["InstanceCount"]
        said = {name: str(self.record[key]) for key, name in ENVIRONMENT.items() if key in self.record}
        environment = {"SAGEMAKER_BATCH": "true", **said, **self.record.get("Environment", {})}
        containers: list[Container] = []
        try:
            objects = self.cloud.storage.find(source["S3Uri"], source["S3DataType"])
            for index in range(count):
                log = self.cloud.stream("TransformJobs", f"{self.name}/i-{index:017x}")
                containers.append(container(self.cloud, self.model, self.name, log, **environment))
            self.limit(FIVE_DAYS_S)
            with ThreadPoolExecutor(count) as pool:
                shares = [objects[index::count] for index in range(count)]
                list(pool.map(self._work, containers, shares, range(count)))
        except (DownloadFailed, BadModel, NotHealthy) as error:
            raise JobFailed(f"ClientError: {error}") from None
        finally:
            with ThreadPoolExecutor(count) as pool:
                list(pool.map(Container.stop, containers))
        if self._failed:
            raise JobFailed("ClientError: See job logs for more information")

    def _work(self, one: Container, objects: list[Object], index: int) -> None:
        """An instance's share of the objects, as many at a time as are asked for."""
        one.wait_until_healthy()
        parameters = Parameters.of(self.record, one.execution_parameters())
        self.used.append(parameters)
        log = self.cloud.stream("TransformJobs", f"{self.name}/i-{index:017x}/data-log")
        _note(
            log,
            f"MaxConcurrentTransforms={parameters.concurrent}, MaxPayloadInMB={parameters.payload_mb}, "
            f"BatchStrategy={'MULTI_RECORD' if parameters.strategy == 'MultiRecord' else 'SINGLE_RECORD'}",
        )
        with ThreadPoolExecutor(parameters.concurrent) as pool:
            list(pool.map(lambda each: self._transform(one, each, parameters, log), objects))
        log.send()
        if self.must_end():
            raise Stopped

    def _transform(self, one: Container, source: Object, parameters: Parameters, log: Stream) -> None:
        if self.must_end():
            return
        output = self.record["TransformOutput"]
        body = self.cloud.storage.read(source.bucket, source.key)
        try:
            records = self._records(body)
            answers: list[bytes] = []
            for batch in _batches(records, parameters, self._splits):
                answers += self._ask(one, batch, parameters)
        except ObjectFailed as error:
            self._failed.append(source.key)
            for line in str(error).splitlines():
                _note(log, f"{source.bucket}/{source.key}: {line}")
            return
        end = b"\n" if output.get("AssembleWith") == "Line" else b""
        told = b"".join(answer.rstrip(b"\n") + end if end else answer for answer in answers)
        self.cloud.storage.write(f"{output['S3OutputPath'].rstrip('/')}/{source.path}.out", told)

    @property
    def _splits(self) -> bool:
        return bool(self.record["TransformInput"].get("SplitType", "None") == "Line")

    def _records(self, body: bytes) -> list[bytes]:
        return [line + b"\n" for line in body.splitlines() if line.strip()] if self._splits else [body]

    def _ask(self, one: Container, batch: list[bytes], parameters: Parameters) -> list[bytes]:
        """One answer for the batch, or one for each record where they are joined with their input."""
        processing = self.record.get("DataProcessing", {})
        sent = [selected(record, processing.get("InputFilter", "$")) for record in batch]
        answer = self._invoke(one, b"".join(sent), parameters)
        if processing.get("JoinSource", "None") == "None" and processing.get("OutputFilter", "$") == "$":
            return [answer]
        lines = answer.splitlines() if self._splits else [answer]
        if len(lines) != len(batch):
            raise ObjectFailed(f"ClientError: {len(batch)} records gave {len(lines)} answers")
        if processing.get("JoinSource", "None") == "Input":
            lines = [joined(record, line) for record, line in zip(batch, lines, strict=True)]
        return [selected(line, processing.get("OutputFilter", "$")) for line in lines]

    def _invoke(self, one: Container, body: bytes, parameters: Parameters) -> bytes:
        if len(body) > parameters.largest:
            raise ObjectFailed(f"ClientError: Too much data for max payload size ({len(body)} bytes)")
        given = {"Content-Type": self.record["TransformInput"].get("ContentType", "")}
        headers = {**given, "Accept": self.record["TransformOutput"].get("Accept", "")}
        said = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(0.1 * attempt)
            try:
                answer = one.invoke(body, headers, self.timeout_s)
            except TimedOut as error:
                said = f"ClientError: Invocation timed out or was cut: {error}"
                continue
            if answer.status == 200:
                return answer.body
            message = answer.body.decode(errors="replace")
            bad = f"Bad HTTP status received from algorithm: {answer.status}"
            said = f"ClientError: {answer.status}\nMessage:\n{message}\n{bad}"
        raise ObjectFailed(said)


def _batches(records: list[bytes], parameters: Parameters, splits: bool) -> list[list[bytes]]:
    """As many records as fit, or each alone."""
    batches: list[list[bytes]] = []
    size = 0
    for record in records:
        fits = batches and size + len(record) <= parameters.largest
        if splits and fits and parameters.strategy == "MultiRecord":
            batches[-1].append(record)
            size += len(record)
        else:
            batches.append([record])
            size = len(record)
    return batches


def _note(log: Stream, line: str) -> None:
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    log.write(f"{now}.000:[sagemaker logs]: {line}")
