"""The rows that people ask the table for, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import timm

from service.model import artifact
from training.dino import weights
from training.dino.config import Config
from training.probe import representations, supervised
from training.probe.representations import Representation
from training.probe.train import FEATURES, teacher
from training.runs import Run
from training.stores.store import Store

NAMED = "statistics, untrained, supervised, ours"


def representation(row: str, run: Run, stores: Sequence[Store], kind: str) -> Representation:
    """What a row is of: one of `NAMED`, the folder of another run or of an artifact, a file of weights, or
    a name that timm knows.

    `kind` says which cls tokens the transformers give. `supervised` is trained here, on the first of the stores
    that has labels, if it was not before. Raises ValueError for what is none of these or reads other bands than
    the run.
    """
    config, blocks = Config.read(run), FEATURES[kind]
    bands, figures = config.bands, config.mean_and_std
    if row == "statistics":
        return representations.ImageStatistics()
    if row == "untrained":
        return representations.untrained(config.spec, len(bands), *figures, blocks)
    if row == "supervised":
        trained = supervised.trained(run, config, stores)
        return representations.Transformer(row, config.spec, trained, len(bands), *figures, blocks)
    if row == "ours":
        return teacher(run, kind)
    folder = Path(row)
    if (folder / artifact.MANIFEST).exists():
        served = artifact.load(folder)
        _require_bands(row, served.manifest.input.bands, bands)
        return representations.of_artifact(served, blocks)
    if (folder / "config.json").exists():
        _require_bands(row, Config.read(Run(folder)).bands, bands)
        return teacher(Run(folder), kind)
    if folder.suffix in weights.FILES:
        return representations.of_file(folder, len(bands), *figures, blocks)
    if not timm.is_model(row):
        raise ValueError(
            f"no row is called {row!r}: there are {NAMED}, folders of runs and artifacts, "
            f"files ({', '.join(weights.FILES)}), timm's names"
        )
    if len(bands) != 3:
        raise ValueError(f"{row} reads three bands, the run {len(bands)}")
    return representations.Timm(row, blocks)


def _require_bands(row: str, found: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if found != wanted:
        raise ValueError(f"{row} reads {', '.join(found)}, but the run reads {', '.join(wanted)}")
