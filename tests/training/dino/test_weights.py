from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from service.model import backbone
from service.model.manifest import BackboneSpec
from tests.training.conftest import TINY as TINY_RUN
from training import run as command
from training.dino import checkpoint, weights
from training.dino.network import Network
from training.probe.representations import of_file

TINY = BackboneSpec(timm="vit_tiny_patch16_224", patch_size=8, dim=192, image_size=32)
Weights = dict[str, Tensor]


def network(seed: int) -> Network:
    torch.manual_seed(seed)
    return Network(TINY, 3, 16)


def theirs(made: Network, prefix: str = "") -> Weights:
    """A state dict as the reference names it."""
    named = {f"{prefix}{name}": tensor for name, tensor in made.state_dict().items()}
    directions = named.pop(f"{prefix}head.prototypes")
    gain = torch.ones(len(directions), 1)
    return named | {f"{prefix}head.last_layer.weight_g": gain, f"{prefix}head.last_layer.weight_v": directions}


@pytest.fixture(scope="module")
def student() -> Network:
    return network(0)


@pytest.fixture(scope="module")
def teacher() -> Network:
    return network(1)


@pytest.fixture(scope="module")
def reference(student: Network, teacher: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """checkpoint.pth as the reference leaves it after a step: arguments, and numpy's numbers as rates."""
    optimizer = torch.optim.AdamW(student.head.parameters())
    student.head(torch.ones(1, 192)).sum().backward()
    optimizer.step()
    for group, decay in zip(optimizer.param_groups, np.linspace(0.04, 0.4, 1), strict=True):
        group["lr"], group["weight_decay"] = np.float64(0.0005), decay
    file = tmp_path_factory.mktemp("reference") / "checkpoint.pth"
    torch.save(
        {
            "student": theirs(student, "module."),
            "teacher": theirs(teacher),
            "optimizer": optimizer.state_dict(),
            "epoch": 1,
            "args": argparse.Namespace(arch="vit_tiny", patch_size=8, global_crops_scale=(0.4, 1.0), gpu=0),
            "dino_loss": {"center": torch.zeros(1, 16)},
            "fp16_scaler": torch.amp.GradScaler("cpu").state_dict(),
        },
        file,
    )
    return file


def same(found: Weights, made: Network) -> bool:
    known = made.backbone.state_dict()
    return found.keys() == known.keys() and all(torch.equal(found[name], known[name]) for name in known)


def test_a_checkpoint_of_the_reference_gives_its_teacher_or_its_student(
    reference: Path, student: Network, teacher: Network
) -> None:
    assert same(weights.fitting(weights.read(reference), TINY, 3), teacher)
    assert same(weights.fitting(weights.read(reference, "student"), TINY, 3), student)


def test_a_teacher_behind_distributed_data_parallel_is_read_too(teacher: Network, tmp_path: Path) -> None:
    torch.save({"teacher": theirs(teacher, "module."), "epoch": 1}, tmp_path / "checkpoint.pth")
    assert same(weights.read(tmp_path / "checkpoint.pth"), teacher)


def test_what_numpy_1_wrote_is_read_without_it(teacher: Network, tmp_path: Path) -> None:
    content = {"teacher": theirs(teacher), "optimizer": {"lr": np.float64(0.0005)}}
    torch.save(content, tmp_path / "new.pth", _use_new_zipfile_serialization=False)
    old = (tmp_path / "new.pth").read_bytes().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    (tmp_path / "old.pth").write_bytes(old)
    assert b"numpy.core.multiarray\nscalar" in old
    assert same(weights.read(tmp_path / "old.pth"), teacher)


@pytest.mark.parametrize("name", ["bare.pth", "bare.pt", "bare.safetensors"])
def test_a_bare_state_dict_is_read(teacher: Network, tmp_path: Path, name: str) -> None:
    (save_file if name.endswith(".safetensors") else torch.save)(teacher.backbone.state_dict(), tmp_path / name)
    assert same(weights.read(tmp_path / name), teacher)


def test_our_own_checkpoint_is_read(student: Network, teacher: Network, tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 3, {"student": student, "teacher": teacher, "centre": torch.zeros(1, 16)})
    file = tmp_path / "step_00000003.safetensors"
    assert same(weights.read(file), teacher)
    assert same(weights.read(file, "student"), student)


@pytest.mark.parametrize(("name", "patch_size"), [("vit_small_patch16_224.dino", 16), ("vit_small_patch8_224.dino", 8)])
def test_weights_as_timm_publishes_them_fit_the_network_that_is_trained(
    tmp_path: Path, name: str, patch_size: int
) -> None:
    torch.manual_seed(0)
    published = timm.create_model(name, pretrained=False, num_classes=0)
    save_file(published.state_dict(), tmp_path / "model.safetensors")
    spec = BackboneSpec(timm="vit_small_patch16_224", patch_size=patch_size, dim=384, image_size=224)
    read = weights.read(tmp_path / "model.safetensors")
    assert weights.spec_of(read) == spec
    trained = Network(spec, 3, 16).eval()
    trained.backbone.load_state_dict(weights.fitting(read, spec, 3))
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(trained.embed(image), published.eval()(image), atol=1e-4)


def test_weights_of_another_grid_are_refused_with_both_grids_named(teacher: Network) -> None:
    larger = TINY.model_copy(update={"image_size": 64})
    with pytest.raises(ValueError, match=r"grid of 4 × 4 tokens, but 64 px in tokens of 8 px are a grid of 8 × 8"):
        weights.fitting(dict(teacher.backbone.state_dict()), larger, 3)


def test_what_is_missing_extra_or_of_another_shape_is_named(teacher: Network) -> None:
    known = dict(teacher.backbone.state_dict())
    without = {name: tensor for name, tensor in known.items() if name != "blocks.3.norm1.bias"}
    with pytest.raises(ValueError, match=r"no tensor blocks\.3\.norm1\.bias"):
        weights.fitting(without, TINY, 3)
    with pytest.raises(ValueError, match=r"has not: blocks\.0\.ls1\.gamma"):
        weights.fitting(known | {"blocks.0.ls1.gamma": torch.ones(192)}, TINY, 3)
    with pytest.raises(ValueError, match=r"patch_embed\.proj\.weight is \(192, 3, 8, 8\), not \(192, 12, 8, 8\)"):
        weights.fitting(known, TINY, 12)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_files_that_hold_no_weights_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"teacher": Harm()}, "harm.pth")
    torch.save({"state_dict": {"a": torch.ones(1)}, "epoch": 3}, "other.pth")
    torch.save({"head.weight": torch.ones(1)}, "head.pth")
    torch.save([torch.ones(1)], "list.pth")
    Path("text.pth").write_text("no weights")
    Path("empty.pth").touch()
    Path("text.safetensors").write_text("no weights")
    for file, said in {
        "harm.pth": "is no checkpoint of tensors",
        "other.pth": "holds neither a teacher nor tensors alone: state_dict, epoch",
        "head.pth": "holds no weights of a backbone",
        "list.pth": "holds no weights by name",
        "text.pth": "is no checkpoint of tensors",
        "empty.pth": "is no checkpoint of tensors: EOFError",
        "text.safetensors": "text.safetensors: ",
    }.items():
        with pytest.raises(ValueError, match=said):
            weights.read(file)
    assert not Path("harmed").exists()
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        weights.read("absent.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        weights.read("absent.safetensors")
    with pytest.raises(ValueError, match="timm has no such weights"):
        weights.read("vit_colossal.dino")


def test_shapes_that_are_of_no_known_transformer_are_refused(teacher: Network) -> None:
    known = dict(teacher.backbone.state_dict())
    with pytest.raises(ValueError, match="without pos_embed are of no vision transformer"):
        weights.spec_of({name: tensor for name, tensor in known.items() if name != "pos_embed"})
    with pytest.raises(ValueError, match="is 200 wide"):
        weights.spec_of(known | {"cls_token": torch.zeros(1, 1, 200)})


def test_a_file_becomes_a_row_of_the_table(reference: Path, teacher: Network) -> None:
    row = of_file(reference, 3, (0.5,) * 3, (0.25,) * 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.inference_mode():
        known, _ = backbone.cls_and_tokens(teacher.backbone.eval(), pixels, 1)
    assert row.name == "checkpoint"
    assert np.allclose(row(images), known.numpy(), atol=1e-4)


def test_evaluate_takes_a_file_for_a_row(tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert command.main(["pretrain", str(tiles), "--run", str(run), *TINY_RUN, "--epochs", "0.2"]) == 0
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    asked = ["evaluate", str(tiles), "--run", str(run), "--rows"]
    assert command.main([*asked, f"ours,{newest[1]}"]) == 0
    ours, from_file = json.loads((run / "evaluation.json").read_text())
    assert from_file.pop("representation") == newest[1].stem
    assert ours.pop("representation") == "run"
    assert ours == from_file
    assert command.main([*asked, "absent.pth"]) == 1
    assert "absent.pth" in capsys.readouterr().err
