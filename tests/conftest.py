"""What many tests need: GeoTIFFs, artifacts and services that are real, only small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from service.model import artifact as artifacts
from service.model import manifest as manifests
from tests.ports import HeldPort
from tests.waiting import wait_until

if TYPE_CHECKING:  # moto takes a second, and few tests need it
    from tests.sagemaker.platform import Platform

# Before torch is imported, here and in all processes that tests start: so small a work is faster on one thread, and
# sums come out the same to the last bit in a run that was killed and in one that was not.
os.environ["OMP_NUM_THREADS"] = "1"

# A shell that runs the tests in the background has them ignore ctrl-C, and with them the programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Files that take minutes, which begin first: else a worker is left with one when all others are done.
LONGEST = (
    *("sagemaker/test_whole_line.py", "training/test_whole_line.py", "training/test_refresh.py"),
    *("training/dino/test_processes.py", "training/dino/test_pretrain.py"),
    *("training/jobs/test_jobs.py", "training/jobs/test_renewal.py", "service/test_life.py"),
)
ROOT = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("SHARED_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real imagery that is not part of the repository."""
    if not SHARED_DATA.exists():
        pytest.skip(f"no imagery at {SHARED_DATA} (set SHARED_DATA)")
    return SHARED_DATA


TINY = manifests.BackboneSpec(timm="vit_tiny_patch16_224", patch_size=8, dim=192, image_size=32)
SMALL = manifests.BackboneSpec(timm="vit_small_patch16_224", patch_size=16, dim=384, image_size=224)


def save_tiny_artifact(
    folder: Path, bands: tuple[str, ...] = ("B04", "B03", "B02"), spec: manifests.BackboneSpec = TINY
) -> artifacts.Artifact:
    """ViT-Tiny/8 at 32 px with random weights; two labels told, two only within a group, one not at all."""
    import torch

    from service.model import backbone

    torch.manual_seed(0)
    weights = backbone.build(spec, len(bands)).state_dict()
    labels = (
        manifests.Label(name="field", threshold=0.3, supervision=("direct",)),
        manifests.Label(name="town", threshold=0.6, supervision=("direct",)),
        manifests.Label(name="lake", supervision=("group",)),
        manifests.Label(name="sea", supervision=("group",)),
        manifests.Label(name="desert"),
    )
    manifest = manifests.Manifest(
        name="tiny",
        version="1",
        created="2026-01-01T00:00:00+00:00",
        licence="Apache-2.0",
        attribution="nobody",
        backbone=spec,
        embedding=manifests.EmbeddingSpec(dim=spec.dim),
        input=manifests.InputModel(
            bands=bands, patch_px=120, gsd_m=10, divisor=2000, mean=(0.4,) * len(bands), std=(0.2,) * len(bands)
        ),
        head=manifests.HeadSpec(features="cls"),
        labels=labels,
        groups=(manifests.Group(name="Water (any)", members=("lake", "sea"), threshold=0.5),),
        training=manifests.Training(stores=("none",), images=0, epochs=0, seed=0),
        files={},
    )
    chance = np.random.default_rng(0)
    head = {"weight": chance.normal(0, 0.1, (5, spec.dim)).astype(np.float32), "bias": np.zeros(5, np.float32)}
    return artifacts.save(folder, manifest, {name: value.half().numpy() for name, value in weights.items()}, head)


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> artifacts.Artifact:
    return save_tiny_artifact(tmp_path_factory.mktemp("artifact"))


@dataclass(frozen=True)
class Service:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    port: HeldPort
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port.number}"

    def wait_until_ready(self) -> None:
        wait_until(self._is_ready)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the service ended with {self.process.returncode}: {self.log.read_text()}")
        try:
            return self.get("/ping").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, **more)

    def metric(self, name: str, **more: Any) -> float:
        """The value of the first line of /metrics that begins so; 0 if none does."""
        rows = self.get("/metrics", **more).text.splitlines()
        return next((float(row.split()[-1]) for row in rows if row.startswith(name)), 0.0)

    def post(
        self, body: bytes, accept: str = "application/json", kind: str = "image/tiff", **query: str
    ) -> httpx.Response:
        headers = {"Content-Type": kind, "Accept": accept}
        return httpx.post(f"{self.url}/invocations", content=body, headers=headers, params=query, timeout=60)

    def end(self) -> None:
        """At once, as nobody who serves would."""
        self.process.kill()
        self.process.wait()
        self.port.close()


StartService = Callable[..., Service]


def start_service(folder: Path, model: Path, **settings: str) -> Service:
    """Starts `python -m service` on a port of its own; does not wait."""
    port = HeldPort()
    environment: Mapping[str, str] = os.environ | {
        "MODEL_DIR": str(model),
        "SAGEMAKER_BIND_TO_PORT": str(port.number),
        "DECODE_WORKERS": "1",  # beside its spare: a test that needs more says so
        "DECODE_TIMEOUT_S": "60",  # a busy machine is no hanging decoder
        "ENGINE": "openvino-fp32",  # what tests compare, they compare to rounding, on any processor
        "PYTHONPATH": str(ROOT),
        **settings,
    }
    log = folder / f"service-{port.number}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "serve"], env=environment, stderr=file, stdout=file, text=True, cwd=folder
        )
    return Service(process, port, log)


@pytest.fixture
def start(tmp_path: Path, tiny_artifact: artifacts.Artifact) -> Iterator[StartService]:
    """Starts services that end with the test."""
    started: list[Service] = []

    def begin(model: Path | None = None, **settings: str) -> Service:
        started.append(start_service(tmp_path, model or tiny_artifact.path, **settings))
        return started[-1]

    yield begin
    for service in started:
        service.end()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_artifact: artifacts.Artifact) -> Iterator[Service]:
    """One ready service for all tests that only ask it things."""
    running = start_service(tmp_path_factory.mktemp("service"), tiny_artifact.path)
    running.wait_until_ready()
    yield running
    running.end()


@pytest.fixture(scope="session")
def running_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The one server of a test run that stands for AWS."""
    from tests.sagemaker.platform import Platform

    running = Platform(tmp_path_factory.mktemp("platform"))
    yield running
    running.close()


def use(running: Platform) -> Iterator[Platform]:
    from deploy import following, waiting

    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        patch.setattr(following, "LAST_LINES_S", 0)  # they are here before it tells that a job has ended
        for looking in (following, waiting):
            patch.setattr(looking, "LONGEST_S", 0.5)  # nobody counts the calls
        yield running
    running.reset()


@pytest.fixture
def platform(running_platform: Platform) -> Iterator[Platform]:
    """An account in which nothing was done yet; the environment of this process leads to it."""
    yield from use(running_platform)


@pytest.fixture(scope="module")
def module_platform(running_platform: Platform) -> Iterator[Platform]:
    """The same, shared by the tests of a module, none of which may ask for `platform`."""
    yield from use(running_platform)
