"""A run: the one folder from pretraining to artifact. Each command reads what the one before wrote there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.files import write_json, write_text


@dataclass(frozen=True)
class Run:
    """Paths and records of a run."""

    path: Path

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.path.absolute().name  # a link's own: jobs have the run under its name

    @property
    def checkpoints(self) -> Path:
        """Of pretraining."""
        return self.path / "checkpoints"

    @property
    def curve(self) -> Path:
        """A picture of pretraining."""
        return self.path / "curve.png"

    @property
    def features(self) -> Path:
        """Cached, by weights and transform."""
        return self.path / "features"

    @property
    def probe(self) -> Path:
        """The head and what is known of it."""
        return self.path / "probe"

    @property
    def probed(self) -> Path:
        """What the probe was fitted on and found."""
        return self.probe / "probe.json"

    @property
    def head(self) -> Path:
        """Weights of the probe."""
        return self.probe / "head.safetensors"

    @property
    def evaluation(self) -> Path:
        """Numbers of the test splits."""
        return self.path / "evaluation.json"

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self.path / "report" / "index.html"

    @property
    def artifact(self) -> Path:
        """What `package` writes unless told otherwise."""
        return self.path / "artifact"

    def begin_or_continue(self, config: dict[str, Any]) -> None:
        """Records the configuration of a new run, or checks it against that of one begun before.

        Raises ValueError naming what differs.
        """
        file = self.path / "config.json"
        if not file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(file, config)
            return
        if said := differences(self.config(), config, config):
            raise ValueError(f"{self.path} was begun with another configuration ({said}); choose another --run")

    def config(self) -> dict[str, Any]:
        """What the run was begun with. Raises FileNotFoundError before pretraining."""
        file = self.path / "config.json"
        if not file.exists():
            raise FileNotFoundError(f"{self.path} is no run: pretrain makes one")
        return dict(json.loads(file.read_text()))

    def metrics(self) -> list[dict[str, Any]]:
        """Records of pretraining so far, in order."""
        file = self.path / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def log(self, record: dict[str, Any]) -> None:
        """Appends a record to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drops records of what will be done again: later steps, and the look at the step itself."""
        kept = [
            json.dumps(record) + "\n"
            for record in self.metrics()
            if record["step"] < step or (record["step"] == step and "knn_accuracy" not in record)
        ]
        write_text(self.path / "metrics.jsonl", "".join(kept))


def differences(begun: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Which of the keys differ and how, in words; empty if none does."""
    differs = [key for key in keys if begun.get(key) != now.get(key)]
    return "; ".join(f"{key} was {begun.get(key)}, now {now.get(key)}" for key in differs)
