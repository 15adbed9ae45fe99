"""The walk of examples/README.md, by the commands that stand there."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that its commands wrote into."""
    folder = tmp_path_factory.mktemp("walk")
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", (ROOT / "examples" / "README.md").read_text(), re.DOTALL))
    assert commands.count("python ") >= 5
    where = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ENGINE": "openvino-fp32"}
    subprocess.run(
        ["bash", "-euc", commands.replace("build/walk", str(folder))], check=True, cwd=ROOT, env=os.environ | where
    )
    return folder


def test_each_tile_gets_a_class_though_few_have_labels(walked: Path) -> None:
    with (walked / "classes.csv").open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 36
    seen = {tile: rows[tile]["class"] for tile in ("r2c0", "r1c1", "r4c2", "r5c4", "r4c4")}
    assert seen == {"r2c0": "fields", "r1c1": "fields", "r4c2": "wood", "r5c4": "wood", "r4c4": "lake"}
    assert float(rows["r0c0"]["longitude"]) < float(rows["r0c5"]["longitude"])


def test_the_map_lies_where_the_scene_lies(walked: Path) -> None:
    with rasterio.open(ROOT / "service" / "page" / "example.tif") as scene, rasterio.open(walked / "map.tif") as found:
        assert found.crs == scene.crs
        assert found.shape == (11, 11)
        assert found.res == (600, 600)  # metres: a stride
