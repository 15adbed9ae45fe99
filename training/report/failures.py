"""Where the probe errs most: test patches whose labels it thinks the least likely."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from training.probe import features, metrics, supervision
from training.probe.supervision import UNKNOWN
from training.probe.train import teacher
from training.report import choice, pictures
from training.report.markup import Markup, absent, figure, tag
from training.runs import Run
from training.stores.store import Store

SHOWN = 6
ASKED = 1000  # images of the test split at most, the same ones each time
SAID = 3  # likeliest answers under a patch
SIGNS = {1: "✓", 0: "✗", UNKNOWN: "?"}


def figures(run: Run, store: Store) -> Markup:
    """A row of patches, the worst first; a sentence where the probe is of another store or no patch is for testing."""
    probe = json.loads(run.probed.read_text()) if run.probed.exists() else None
    if probe is None or probe["store"] != store.card.name or not run.head.exists():
        return absent(f"Which patches are hard cannot be told: the run has no probe of {store.card.name}.")
    representation = teacher(run, probe["features"])
    if probe["representation"] != representation.key:
        return absent("Which patches are hard cannot be told: the probe is of other weights than the run’s newest.")
    test = store.of_split("test")
    if not len(test):
        return absent(f"Which patches are hard cannot be told: {store.card.name} has no test split.")
    asked = np.sort(np.random.default_rng(0).permutation(test)[:ASKED])
    head = load_file(run.head)
    logits = features.of_some(representation, store, run.features, asked) @ head["weight"].T
    known = supervision.read(store.card, store.rows, store.of_split("train"))
    answers = metrics.columns(logits + head["bias"], known.of(asked))
    cells = [_cell(store, int(asked[i]), answers, i) for i in worst(answers)[:SHOWN]]
    caption = (
        f"Where the probe errs most: of {len(asked):,} patches of the test split of {store.card.name} those with the "
        f"highest mean cross-entropy, what the store says of them, and the {SAID} likeliest answers: right (✓), wrong "
        "(✗) or unknown (?)."
    )
    return figure(tag("div", *cells, class_="failures"), caption=caption)


def worst(answers: metrics.Columns) -> NDArray[np.int64]:
    """Positions of images, that with the highest mean cross-entropy over known answers first."""
    p = np.clip(answers.probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    known = answers.truth != UNKNOWN
    unlikely = -np.log(np.where(answers.truth == 1, p, 1 - p)) * known
    return np.argsort(-unlikely.sum(1) / np.maximum(known.sum(1), 1), kind="stable")


def _cell(store: Store, position: int, answers: metrics.Columns, image: np.int64) -> Markup:
    title, p, truth = choice.title(store, position), answers.probabilities[image], answers.truth[image]
    best = np.argsort(-p, kind="stable")[:SAID]
    said = [tag("li", f"{SIGNS[int(truth[i])]} {p[i]:.2f} {answers.names[i]}") for i in best]
    picture = pictures.patch(store.images[position], store.card.bands, title)
    return tag("div", picture, tag("p", title, class_="name"), tag("ul", *said), class_="cell")
