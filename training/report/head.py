"""The head of the page: which run this is, in words, and its figures in large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.dino.config import Config
from training.report.markup import Markup, absent, joined, tag

Figure = tuple[str, str, str]  # value, what it is, interval or nothing


def head(name: str, config: Config, records: Sequence[dict[str, Any]], measured: Sequence[Figure]) -> Markup:
    """Name, configuration, figures; where nothing is measured, those of pretraining."""
    shown = list(measured) or _of_pretraining(records)
    tiles = [
        tag("div", tag("dt", what), tag("dd", value), tag("dd", around, class_="interval") if around else "")
        for value, what, around in shown
    ]
    figures = tag("dl", *tiles, class_="figures") if tiles else absent("There are no figures of this run yet.")
    rows = [tag("tr", tag("th", key, scope="row"), tag("td", _plain(value))) for key, value in config.record().items()]
    table = tag("details", tag("summary", "The whole configuration"), tag("table", tag("tbody", *rows)))
    return tag("header", tag("h1", name), *_in_words(config, records), figures, table)


def _of_pretraining(records: Sequence[dict[str, Any]]) -> list[Figure]:
    found: list[Figure] = []
    for key, what in (("knn_accuracy", "kNN accuracy, validation"), ("loss", "loss")):
        if last := [record for record in records if key in record][-1:]:
            store = f" of {last[0]['store']}" if "store" in last[0] else ""
            found.append((f"{last[0][key]:.3f}", what + store, ""))
    return found


def _in_words(config: Config, records: Sequence[dict[str, Any]]) -> list[Markup]:
    reached = max((record["epoch"] for record in records), default=0.0)
    epochs = f"{config.epochs:g} epochs"
    if reached < config.epochs - 0.005:
        epochs = f"{reached:.2f} of {config.epochs:g} epochs, so far,"
    first = f", from the weights of {Path(config.init).name}" if config.init else ""
    local = f" and {config.local_crops} local ones of {config.local_px} px" if config.local_crops else ""
    what = (
        f"A {config.backbone} with tokens of {config.patch_size} px, taught by DINO for {epochs} on "
        f"{config.images:,} patches of {' and '.join(config.stores)} ({', '.join(config.bands)}) without their labels"
        f"{first}."
    )
    how = (
        f"Each patch was seen through two global crops of {config.global_px} px{local}, under the {config.recipe} "
        f"recipe of augmentation; {config.prototypes:,} prototypes, {config.targets} targets, {config.optimizer} "
        f"with a batch of {config.batch} in {config.dtype}, seed {config.seed}. It is served at {config.image_size} px."
    )
    return [tag("p", what, class_="lead"), tag("p", how)]


def _plain(value: object) -> Markup | str:
    return ", ".join(map(str, value)) if isinstance(value, list) else joined([str(value)])
