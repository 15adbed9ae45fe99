from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from safetensors.numpy import save as serialised

from service.model.artifact import BACKBONE, HEAD, INT8, MANIFEST, Artifact, ArtifactError, load, save
from service.model.engine import Choice, choose
from service.model.manifest import Int8Engine


@pytest.fixture
def copy(tiny_artifact: Artifact, tmp_path: Path) -> Path:
    """A copy of the tiny artifact that a test may spoil."""
    return Path(shutil.copytree(tiny_artifact.path, tmp_path / "copy"))


def reason(folder: Path) -> str:
    with pytest.raises(ArtifactError) as error:
        load(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def rewrite(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Changes model.json as somebody with an editor would."""
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


def resign(folder: Path) -> None:
    """Makes the digests right again, so that what lies behind them is looked at."""
    import hashlib

    digests = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir() if f.name != MANIFEST}
    rewrite(folder, lambda content: content.update(files=digests))


def test_what_is_saved_is_loaded(tiny_artifact: Artifact, copy: Path) -> None:
    loaded = load(copy)
    assert loaded.manifest == tiny_artifact.manifest
    assert loaded.sha256 == tiny_artifact.sha256
    assert loaded.backbone["pos_embed"].dtype == np.float16
    assert loaded.head["weight"].shape == (5, 192)


def test_a_missing_file_is_refused_by_name(copy: Path) -> None:
    (copy / BACKBONE).unlink()
    assert f"missing: {BACKBONE}" in reason(copy)


def test_a_missing_manifest_is_refused_by_name(copy: Path) -> None:
    (copy / MANIFEST).unlink()
    assert f"{MANIFEST} is missing" in reason(copy)


def test_what_cannot_be_read_is_refused_by_name(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"not unpacked")
    assert "model.tar.gz: model.json cannot be read: Not a directory" in reason(tmp_path / "model.tar.gz")
    (copy / HEAD).unlink()
    (copy / HEAD).symlink_to(tmp_path / "nowhere")
    assert "head.safetensors cannot be read: No such file" in reason(copy)


def test_an_extra_file_is_refused_by_name(copy: Path) -> None:
    (copy / "code").mkdir()
    (copy / "code" / "inference.py").write_text("import os")
    assert "code/inference.py" in reason(copy)


def test_altered_weights_are_refused_by_name(copy: Path) -> None:
    content = bytearray((copy / BACKBONE).read_bytes())
    content[-1] ^= 1
    (copy / BACKBONE).write_bytes(content)
    assert f"{BACKBONE} was altered" in reason(copy)


def test_a_label_list_of_another_length_than_the_head_is_refused(copy: Path) -> None:
    rewrite(copy, lambda content: content["labels"].pop())
    assert reason(copy).endswith(f"{HEAD}: weight is 5×192, but {MANIFEST} asks for 4×192")


def test_an_unknown_field_is_refused_by_name(copy: Path) -> None:
    rewrite(copy, lambda content: content.update(pickle="model.pkl"))
    assert "pickle" in reason(copy)


def test_a_backbone_from_elsewhere_is_refused(copy: Path) -> None:
    rewrite(copy, lambda content: content["backbone"].update(timm="hf-hub:somebody/model"))
    assert "backbone.timm" in reason(copy)


def test_a_group_of_unknown_labels_is_refused(copy: Path) -> None:
    rewrite(copy, lambda content: content["groups"][0].update(members=["lake", "ocean"]))
    assert "ocean" in reason(copy)


def test_a_pickle_in_place_of_weights_is_not_opened(copy: Path) -> None:
    (copy / HEAD).write_bytes(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.")
    resign(copy)
    assert HEAD in reason(copy)


def test_weights_that_are_not_finite_are_refused(copy: Path) -> None:
    tensors = load_file(copy / HEAD)
    tensors["bias"][2] = np.nan
    save_file(tensors, copy / HEAD)
    resign(copy)
    assert f"{HEAD}: bias" in reason(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("blocks.3.attn.qkv.weight"), "no tensor blocks.3.attn.qkv.weight"),
        (lambda w: w.update({"blocks.12.norm1.bias": w["norm.bias"]}), "blocks.12.norm1.bias"),
        (lambda w: w.update({"norm.bias": w["norm.bias"][:10]}), "norm.bias is (10,), not (192,)"),
    ],
)
@pytest.mark.parametrize("engine", ["torch", "openvino-fp32"])
def test_weights_that_do_not_fit_the_backbone_are_refused_by_name(
    copy: Path, change: Callable[[dict[str, object]], object], said: str, engine: Choice
) -> None:
    tensors = load_file(copy / BACKBONE)
    change(tensors)
    save_file(tensors, copy / BACKBONE)
    resign(copy)
    with pytest.raises(ArtifactError) as error:
        choose(load(copy), 1, engine)
    assert said in str(error.value)


def ranges() -> dict[str, NDArray[np.float32]]:
    """Of two matrix products."""
    return {
        "blocks.0.mlp.fc1.range": np.array([-1, 2], np.float32),
        "blocks.0.mlp.fc1.smoothing": np.ones(192, np.float32),
        "blocks.0.attn.scores.range": np.array([-1, 1], np.float32),
        "blocks.0.attn.scores.smoothing": np.ones(192, np.float32),
    }


def save_with_ranges(artifact: Artifact, folder: Path, ranges: dict[str, NDArray[np.float32]]) -> Artifact:
    """As `package` does with an int8 engine."""
    near = Int8Engine(
        calibration=1, store="fields", split="test", n=1, cosine_mean=1, cosine_min=1, probability_difference=0,
        average_precision_difference=0,
    )  # fmt: skip
    manifest = artifact.manifest.model_copy(update={"engines": (near,)})
    others = {INT8: serialised(ranges)} if ranges else {}
    return save(folder, manifest, artifact.backbone, artifact.head, others)


def test_ranges_of_int8_are_loaded_where_there_are_some(tiny_artifact: Artifact, tmp_path: Path) -> None:
    loaded = save_with_ranges(tiny_artifact, tmp_path / "with", ranges())
    assert loaded.ranges is not None and loaded.ranges["blocks.0.mlp.fc1.range"].tolist() == [-1, 2]
    assert load(tiny_artifact.path).ranges is None


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update({"blocks.0.mlp.fc1.range": np.array([2, -1], np.float32)}),
        lambda r: r.update({"blocks.0.mlp.fc1.range": np.array([-1, np.nan], np.float32)}),
        lambda r: r.update({"blocks.0.mlp.fc1.range": np.array([-3e38, 3e38], np.float32)}),
        lambda r: r.update({"blocks.0.mlp.fc1.smoothing": np.zeros(192, np.float32)}),
        lambda r: r.update({"blocks.0.mlp.fc1.smoothing": np.ones(191, np.float32)}),
        lambda r: r.pop("blocks.0.mlp.fc1.smoothing"),
        lambda r: r.update({"blocks.0.mlp.fc3.range": r.pop("blocks.0.mlp.fc1.range")}),
        lambda r: r.update({"blocks.0.attn.scores.smoothing": np.ones(64, np.float32)}),
        lambda r: r.pop("blocks.0.attn.scores.range"),
        lambda r: r.update({"blocks.12.attn.scores.range": r.pop("blocks.0.attn.scores.range")}),
    ],
)
def test_ranges_that_do_not_fit_are_refused_by_name(
    tiny_artifact: Artifact, tmp_path: Path, change: Callable[[dict[str, NDArray[np.float32]]], object]
) -> None:
    spoilt = ranges()
    change(spoilt)
    with pytest.raises(ArtifactError, match=rf"{INT8}: blocks\.\d+\.\w+\.\w+ has no range and smoothing that fit it"):
        save_with_ranges(tiny_artifact, tmp_path / "with", spoilt)


def test_an_engine_without_its_file_is_refused(tiny_artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=f"lists no {INT8}"):
        save_with_ranges(tiny_artifact, tmp_path / "with", {})


def test_an_artifact_is_not_written_over_another(tiny_artifact: Artifact, copy: Path) -> None:
    with pytest.raises(FileExistsError):
        save(copy, tiny_artifact.manifest, tiny_artifact.backbone, tiny_artifact.head)
