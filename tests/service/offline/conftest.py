"""`python -m service embed` in this process, with a model that is small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.__main__ import main
from service.model.artifact import Artifact

Embed = Callable[..., int]


@pytest.fixture
def embed(tmp_path: Path, tiny_artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> Embed:
    """Embeds what is named to out.parquet in `tmp_path` and returns the exit code; capitals are settings."""
    monkeypatch.chdir(tmp_path)

    def run(*said: str | Path, **settings: str) -> int:
        for name, value in {"ENGINE": "openvino-fp32", "DECODE_WORKERS": "1", **settings}.items():
            monkeypatch.setenv(name, value)
        out = () if "--out" in said else ("--out", "out.parquet")
        return main(["embed", *map(str, said), *out, "--model", str(tiny_artifact.path)])

    return run
