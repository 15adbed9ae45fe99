"""Which engine runs an artifact. What this machine has not (a GPU, another processor) is told by stand-ins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from service.model import engine, openvino_engine, torch_engine
from service.model.artifact import Artifact, ArtifactError
from service.model.engine import Choice, EngineError, choose
from tests.conftest import StartService


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Without GPU; with bfloat16 and VNNI."""
    monkeypatch.setattr(engine, "NVIDIA", tmp_path / "no device")
    monkeypatch.setattr(openvino_engine, "has_bfloat16", lambda: True)
    monkeypatch.setattr(openvino_engine, "has_int8", lambda: True)
    return monkeypatch


def without(machine: pytest.MonkeyPatch, *names: str) -> None:
    """Has the machine lack packages."""
    found = engine.find_spec
    machine.setattr(engine, "find_spec", lambda name: None if name in names else found(name))


def with_int8(artifact: Artifact) -> Artifact:
    """As if it had been packaged with ranges."""
    packaged = replace(artifact)
    packaged.__dict__["ranges"] = {}
    return packaged


def test_on_a_cpu_it_is_openvino_in_the_fastest_that_processor_and_artifact_allow(
    machine: pytest.MonkeyPatch, tiny_artifact: Artifact
) -> None:
    assert engine.best(tiny_artifact) == "openvino-bf16"
    assert engine.best(with_int8(tiny_artifact)) == "openvino-int8"
    machine.setattr(openvino_engine, "has_int8", lambda: False)
    assert engine.best(with_int8(tiny_artifact)) == "openvino-bf16"
    machine.setattr(openvino_engine, "has_bfloat16", lambda: False)
    assert engine.best(tiny_artifact) == "openvino-fp32"


def test_torch_runs_what_openvino_cannot(machine: pytest.MonkeyPatch, tiny_artifact: Artifact) -> None:
    manifest = tiny_artifact.manifest
    other = manifest.backbone.model_copy(update={"timm": "vit_small_patch14_reg4_dinov2"})
    unusual = replace(tiny_artifact, manifest=manifest.model_copy(update={"backbone": other}))
    assert engine.best(unusual) == "torch"
    with pytest.raises(ArtifactError, match="vit_small_patch14_reg4_dinov2 is no plain vision transformer"):
        choose(unusual, 1, "openvino-fp32")
    without(machine, "openvino")
    assert engine.best(tiny_artifact) == "torch"
    without(machine, "torch")
    with pytest.raises(EngineError, match="not installed; only torch runs vit_small_patch14_reg4_dinov2"):
        choose(unusual, 1)


def test_torch_runs_on_a_gpu_that_it_can_use(
    machine: pytest.MonkeyPatch, tiny_artifact: Artifact, tmp_path: Path
) -> None:
    machine.setattr(engine, "NVIDIA", tmp_path)
    machine.setattr(torch.cuda, "is_available", lambda: True)
    assert engine.best(tiny_artifact) == "torch"
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert engine.best(tiny_artifact) == "openvino-bf16"
    without(machine, "torch")
    assert engine.best(tiny_artifact) == "openvino-bf16"


def test_each_gpu_has_an_engine(machine: pytest.MonkeyPatch, tiny_artifact: Artifact, tmp_path: Path) -> None:
    machine.setattr(engine, "NVIDIA", tmp_path)
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "device_count", lambda: 4)
    machine.setattr(torch_engine, "TorchEngine", lambda _artifact, threads, device, **_: (threads, device))
    found = choose(tiny_artifact, 2)
    assert list(found.each) == [(2, f"cuda:{i}") for i in range(4)]
    assert found.together is None


@pytest.mark.parametrize(
    ("asked", "name"),
    [("torch", "torch"), ("torch-fp32", "float32"), ("torch-bf16", "bfloat16"), ("openvino-fp32", "cpu float32")],
)
def test_what_is_asked_for_is_taken(tiny_artifact: Artifact, asked: Choice, name: str) -> None:
    (only,) = choose(tiny_artifact, 1, asked).each
    assert name in only.name


def test_what_is_not_to_be_had_is_told(machine: pytest.MonkeyPatch, tiny_artifact: Artifact) -> None:
    with pytest.raises(EngineError, match="openvino-int8 needs an artifact packaged with it"):
        choose(tiny_artifact, 1, "openvino-int8")
    machine.setattr(openvino_engine, "has_bfloat16", lambda: False)
    with pytest.raises(EngineError, match="AMX or AVX512_BF16"):
        choose(tiny_artifact, 1, "openvino-bf16")
    without(machine, "torch", "openvino")
    for asked in ("auto", "torch"):
        with pytest.raises(EngineError, match="torch, which is not installed"):
            choose(tiny_artifact, 1, asked)


@pytest.mark.parametrize(
    ("asked", "code", "said"),
    [("openvino-int8", 1, "cannot serve: the engine openvino-int8 needs"), ("tensorrt", 2, "setting ENGINE")],
)
def test_a_service_that_cannot_have_its_engine_ends_with_a_line(
    start: StartService, asked: str, code: int, said: str
) -> None:
    service = start(ENGINE=asked)
    assert service.process.wait(60) == code
    log = service.log.read_text()
    assert said in log and "Traceback" not in log
