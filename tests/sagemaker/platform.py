"""AWS on a socket of this machine: moto for what it does well, and before it what makes SageMaker really run."""

from __future__ import annotations

import logging
import shutil
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.sagemaker import runtime, wire
from tests.sagemaker.api import ACCOUNT, REGION, Refused
from tests.sagemaker.control import Control
from tests.sagemaker.jobs import Cloud, Job
from tests.sagemaker.storage import Storage
from tests.sagemaker.training_job import TrainingJob

OWN_KEY = "platform"  # signs what the platform itself asks of moto, which nobody wants to see among the calls
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


class Call(NamedTuple):
    """`sagemaker/CreateModel` and its request, as JSON has it; S3's calls are `s3/PUT` with bucket and key."""

    operation: str
    request: dict[str, Any]


class QuietHandler(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Says nothing."""


class Platform:
    """One account in one region, until `close`. moto keeps its state in this process: one platform at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[Call] = []
        self.images: dict[str, Sequence[str]] = {}  #: commands of images that serve, other than the service
        self.denied: set[str] = set()  #: actions that SimulatePrincipalPolicy denies
        #: by operation, what is done each time when a call was carried out and is not answered yet
        self.before_answers: dict[str, Callable[[], object]] = {}
        self._faults: deque[tuple[str, Refused]] = deque()
        self._moto = DomainDispatcherApplication(create_backend_app)
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=QuietHandler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url}
        self.control = self._fresh()

    def client(self, service: str) -> Any:
        """A client of boto3 that reaches this platform whatever the environment says, and leaves no trace in calls."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=OWN_KEY,
            aws_secret_access_key=OWN_KEY,
            config=Config(max_pool_connections=64),  # transforms on several instances read and write at a time
        )

    def requests(self, operation: str) -> list[dict[str, Any]]:
        """Of all calls of this name (`CreateModel`, `sagemaker/CreateModel`), oldest first."""
        return [call.request for call in self.calls if operation in (call.operation, call.operation.split("/")[-1])]

    def fail_next(self, operation: str, code: str, message: str = "", status: int = 400) -> None:
        """The next call of this name is refused so, and does nothing."""
        self._faults.append((operation, Refused(code, message or code, status)))

    def job(self, name: str) -> Job:
        """A training, processing or transform job."""
        return next(job for (_, its), job in self.control.jobs.items() if its == name)

    def wait(self, name: str, seconds: float = 600) -> dict[str, Any]:
        """Until the job has ended, or the endpoint stands still. Returns its record."""
        endpoint = self.control.endpoints.get(name)
        runs = endpoint or self.job(name)
        runs.join(seconds)
        return runs.record

    def interrupt(self, name: str) -> None:
        """The spot market takes the instances of a training job."""
        job = self.job(name)
        assert isinstance(job, TrainingJob), f"{name} is no training job"
        job.interrupt()

    def scale(self, endpoint: str, count: int, variant: str | None = None) -> None:
        """As autoscaling does."""
        found = self.control.endpoints[endpoint]
        found.scale(variant or found.variants[0].name, count)

    def lines(self, group: str, prefix: str) -> list[str]:
        """What was logged: `lines("TrainingJobs", job)`."""
        logs, name = self.client("logs"), f"/aws/sagemaker/{group}"
        streams = logs.describe_log_streams(logGroupName=name, logStreamNamePrefix=prefix)["logStreams"]
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=name, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def reset(self) -> None:
        """Nothing was ever called or made."""
        self.control.end()
        urlopen(f"{self.url}/moto-api/reset", b"").close()
        self.calls.clear()
        self._faults.clear()
        self.denied.clear()
        self.before_answers.clear()
        self.images.clear()
        self.control = self._fresh()

    def close(self) -> None:
        self.control.end()
        self._server.shutdown()
        self._server.server_close()

    def _fresh(self) -> Control:
        shutil.rmtree(self.folder, ignore_errors=True)  # jobs of an account take a GB
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir(parents=True)
        return Control(Cloud(Storage(self.client("s3")), self.client("logs"), folder, self.environment, self.images))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application: ours where we answer, else moto's, which sees the request as it came."""
        asked = wire.read(environ)
        try:
            if asked.service and asked.key != OWN_KEY:
                self.calls.append(Call(f"{asked.service}/{asked.operation}", asked.request))
                self._fault(asked)
            response = self._own(asked, environ)
        except Refused as refused:
            response = wire.refusal(asked.service, refused)
        told: Iterable[bytes] = (response or self._moto)(environ, start_response)
        if asked.key != OWN_KEY and asked.operation in self.before_answers:
            self.before_answers[asked.operation]()
        return told

    def _fault(self, asked: wire.Asked) -> None:
        for fault in self._faults:
            if fault[0] in {asked.operation, f"{asked.service}/{asked.operation}"}:
                self._faults.remove(fault)
                raise fault[1]

    def _own(self, asked: wire.Asked, environ: dict[str, Any]) -> Response | None:
        if asked.service == "sagemaker" and self.control.knows(asked.operation):
            return wire.answer(self.control.answer(asked.operation, asked.request))
        if asked.service == "sagemaker-runtime":
            return self._invoke(asked, dict(Request(environ).headers))
        if asked.operation == "SimulatePrincipalPolicy":
            return wire.simulated(asked.request, self.denied)
        return None

    def _invoke(self, asked: wire.Asked, headers: dict[str, str]) -> Response:
        name = asked.request["EndpointName"]
        endpoint = self.control.endpoints.get(name)
        if endpoint is None:
            raise Refused("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        return runtime.ANSWERS[asked.operation](endpoint, headers, asked.body)
