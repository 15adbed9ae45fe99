"""What the folders promise each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

#: folder → what nothing in it may import, however lazily
NEVER = {
    "service": ("training", "deploy", "examples", "tests"),
    "service/imagery": ("torch", "timm", "fastapi", "starlette", "uvicorn", "service.model", "service.settings"),
    "service/model": ("rasterio", "fastapi", "starlette", "uvicorn", "service.settings"),
    "deploy": ("torch", "timm", "rasterio", "fastapi", "starlette", "training", "examples", "tests"),
    "training": ("fastapi", "starlette", "uvicorn", "service.app", "service.settings", "service.featurizer"),
}


HEAVY = {"torch", "numpy", "rasterio", "boto3", "botocore", "sagemaker", "pyarrow", "pydantic"}


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("folder", NEVER)
def test_arrows_point_one_way(folder: str) -> None:
    files = list((ROOT / folder).rglob("*.py"))
    assert len(files) > 3
    for file in files:
        for name in imports(file):
            wrong = [bad for bad in NEVER[folder] if name == bad or name.startswith(bad + ".")]
            assert not wrong, f"{file.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("service.imagery.decoding.worker", {"torch", "timm", "fastapi", "pydantic"}),
        ("service.model.openvino_engine", {"torch", "timm", "openvino_telemetry"}),  # telemetry: what reports to Intel
        ("service.server", {"torch", "timm", "rasterio", "boto3", "pyarrow"}),
        ("training.run", {"torch", "numpy", "rasterio", "boto3", "sagemaker", "pyarrow", "pydantic"}),
        ("deploy.__main__", HEAVY),
        ("training.dino.pretrain", {"rasterio", "fastapi", "matplotlib", "torchmetrics"}),
    ],
)
def test_a_process_holds_only_what_it_needs(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "command", [("-m", "deploy"), ("-m", "service"), ("-m", "service", "embed"), ("training/run.py",)]
)
def test_help_is_told_without_what_is_heavy(command: tuple[str, ...]) -> None:
    asked = [sys.executable, "-X", "importtime", *command, "--help"]
    done = subprocess.run(asked, check=True, cwd=ROOT, capture_output=True, text=True)
    assert "usage:" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported and not HEAVY & imported
