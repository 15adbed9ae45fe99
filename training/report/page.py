"""The page of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from training.dino import checkpoint
from training.dino.config import Config
from training.files import write_text
from training.probe.train import FEATURES, require_bands, teacher
from training.report import evaluation, failures, neighbours, pretraining, sight
from training.report.head import head
from training.report.markup import Markup, absent, joined, section, tag
from training.runs import Run
from training.stores.store import Store

STYLE = Path(__file__).with_name("style.css")


def write(run: Run, stores: Sequence[Store], file: Path) -> None:
    """Writes the page in one step; what the run has not got is told in a sentence.

    `stores` are those whose patches are shown. Raises FileNotFoundError for what is no run, ValueError for a
    store with other bands.
    """
    config, records, name = Config.read(run), run.metrics(), run.name
    for store in stores:
        require_bands(run, store)
    entries = json.loads(run.evaluation.read_text()) if run.evaluation.exists() else []
    body = [
        head(name, config, records, evaluation.headline(name, entries)),
        pretraining.chapter(config, records),
        evaluation.chapter(name, entries, _keys(run)),
        *_patches(run, config, stores),
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, _document(name, body))


def of_probe(run: Run) -> list[Store]:
    """The store that the run was probed on, where there is one and it still stands there."""
    if not run.probed.exists():
        return []
    path = Path(json.loads(run.probed.read_text())["store_path"])
    return [Store.open(path)] if path.exists() else []


def _keys(run: Run) -> set[str]:
    """Of the newest teacher as a representation, whichever of its cls tokens are taken."""
    return {teacher(run, kind).key for kind in FEATURES} if checkpoint.latest(run.checkpoints) else set()


def _patches(run: Run, config: Config, stores: Sequence[Store]) -> list[Markup]:
    newest = checkpoint.latest(run.checkpoints)
    if newest is None or not stores:
        why = "there is no checkpoint yet" if newest is None else "no store was named (--stores), and none was probed"
        return [section("What it sees", absent(f"No patches are shown: {why}."))]
    representation = teacher(run, "cls")
    return [
        section(
            f"What it sees: {store.card.name}",
            sight.figures(config, newest[1], store),
            neighbours.figures(representation, store, run.features),
            failures.figures(run, store),
            tag("p", store.card.attribution, class_="absent") if store.card.attribution else "",
        )
        for store in stores
    ]


def _document(name: str, body: Sequence[Markup]) -> str:
    head_of_page = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{name}: report of a run"),
        tag("style", Markup(STYLE.read_text())),
    )
    return "<!doctype html>\n" + joined([tag("html", head_of_page, tag("body", tag("main", *body)), lang="en")]) + "\n"
