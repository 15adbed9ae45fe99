"""How the run learnt: loss, schedules and nearest-neighbour accuracy over epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from training.dino.config import Config
from training.report.charts import Line, lines, thinned
from training.report.markup import Markup, absent, figure, section, tag

Records = Sequence[dict[str, Any]]
KINDS = ("first", "second", "third", "fourth")


def chapter(config: Config, records: Records) -> Markup:
    """Loss and what is watched, then the schedules, then the pace in words."""
    steps = [record for record in records if "loss" in record]
    if not steps:
        return section("How it learnt", absent("No step of pretraining has been logged yet."))
    watched = [chart for chart in (_loss(config, steps), _neighbours(records), _spread(steps)) if chart]
    content = [figure(tag("div", *watched, class_="charts"), caption=_told(config, records, steps))]
    schedules = [_schedule(name, steps) for name in ("learning_rate", "weight_decay", "momentum") if name in steps[0]]
    if schedules:
        caption = (
            "The schedules as they were applied, step by step: the learning rate of the batch in use, the weight "
            "decay of matrices, and the momentum with which the teacher follows the student."
        )
        content.append(figure(tag("div", *schedules, class_="charts"), caption=caption))
    return section("How it learnt", *content, _pace(steps))


def _line(name: str, key: str, steps: Records, kind: str = "first") -> Line:
    return thinned(name, [(record["epoch"], record[key]) for record in steps if key in record], kind)


def _loss(config: Config, steps: Records) -> Markup:
    drawn = [_line("loss", "loss", steps)]
    if "entropy" in steps[0]:
        drawn.append(_line("teacher entropy", "entropy", steps, "second"))
    uniform = math.log(config.prototypes)
    return lines("Loss and teacher entropy, nats", drawn, "epoch", level=(uniform, f"ln {config.prototypes:,}"))


def _neighbours(records: Records) -> Markup | None:
    watched = [record for record in records if "knn_accuracy" in record]
    if not watched:
        return None
    drawn = []
    for store, kind in zip(dict.fromkeys(record["store"] for record in watched), KINDS, strict=False):
        points = [(record["epoch"], record["knn_accuracy"]) for record in watched if record["store"] == store]
        drawn.append(Line(store, points, kind, dots=[3.0] * len(points)))
    return lines("Nearest-neighbour accuracy", drawn, "epoch")


def _spread(steps: Records) -> Markup | None:
    if not any("feature_std" in record for record in steps):
        return None
    return lines("Spread of features", [_line("standard deviation", "feature_std", steps)], "epoch")


def _schedule(name: str, steps: Records) -> Markup:
    said = name.replace("_", " ").capitalize()
    return lines(said, [_line(said, name, steps)], "epoch", height=190)


def _told(config: Config, records: Records, steps: Records) -> str:
    said = (
        "The loss is the cross-entropy between what the teacher says of one view and the student of another, the "
        f"entropy that of the teacher’s answer; ln {config.prototypes:,} is what knowing nothing costs, and an "
        "entropy near zero a teacher that says the same of everything. Shades are ranges, lines their means."
    )
    if any("knn_accuracy" in record for record in records):
        said += (
            " Accuracy: the teacher’s embeddings of validation images, each classed by a vote of its 20 most similar "
            "train images, no head being trained."
        )
    else:
        said += " No store with one label an image was there to measure nearest-neighbour accuracy on."
    if any("feature_std" in record for record in steps):
        said += " The spread of features falls to zero where a run collapses."
    return said


def _pace(steps: Records) -> Markup:
    paces = sorted(record["images_per_s"] for record in steps if "images_per_s" in record)
    if not paces:
        return absent("The records do not say how fast it went.")
    low, high = paces[len(paces) // 10], paces[-1 - len(paces) // 10]
    said = f"It read {median(paces):,.0f} images a second in the median of {len(paces):,} records"
    return tag("p", f"{said} ({low:,.0f} to {high:,.0f} in eight of ten).")
