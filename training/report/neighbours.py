"""What the embedding takes for alike: patches of the test split with the most similar of the train split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.probe import features
from training.probe.representations import Representation
from training.report import choice, pictures
from training.report.markup import Markup, absent, figure, tag
from training.stores.store import Store

QUERIES, NEAREST = 6, 5
BANK = 2000  # images of the train split that neighbours are looked for among, the same ones each time
SIGNS = {"right": "✓", "partly": "◐", "wrong": "✗"}


@dataclass(frozen=True)
class Neighbour:
    """An image of the bank, most similar first."""

    position: int
    cosine: float


def figures(representation: Representation, store: Store, cache: Path) -> Markup:
    """Rows of a query and its nearest; a sentence where the store has no train and test split."""
    train, test = store.of_split("train"), store.of_split("test")
    if not len(train) or not len(test):
        return absent(f"Nearest neighbours need the splits train and test, which {store.card.name} has not.")
    bank = np.sort(np.random.default_rng(0).permutation(train)[:BANK])
    queries = choice.spread(store, test, QUERIES)
    found = features.of_some(representation, store, cache, np.concatenate([bank, queries]))
    rows = [
        _row(store, int(query), ranked)
        for query, ranked in zip(queries, nearest(found[: len(bank)], found[len(bank) :], bank), strict=True)
    ]
    caption = (
        f"Nearest neighbours: on the left a patch of the test split, then its {NEAREST} most similar of {len(bank):,} "
        f"patches of the train split of {store.card.name}, with the cosine between their cls embeddings."
    )
    if store.card.labels:
        caption += " ✓ and a solid frame: the same labels; ◐ and a dashed one: some of them; ✗ and a dotted one: none."
    return figure(tag("div", *rows, class_="neighbours"), caption=caption)


def nearest(
    bank: NDArray[np.float32], queries: NDArray[np.float32], positions: NDArray[np.int64]
) -> list[list[Neighbour]]:
    """For each query (Q × features) the most similar of the bank (N × features), which stands at `positions`."""
    bank, queries = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (bank, queries))
    similarity = queries @ bank.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :NEAREST]
    return [
        [Neighbour(int(positions[i]), float(row[i])) for i in best] for row, best in zip(similarity, order, strict=True)
    ]


def verdict(wanted: Sequence[str], found: Sequence[str]) -> str:
    """`right` with the same labels, `partly` with some of them, `wrong` with none."""
    if set(wanted) == set(found):
        return "right"
    return "partly" if set(wanted) & set(found) else "wrong"


def _row(store: Store, query: int, ranked: Sequence[Neighbour]) -> Markup:
    wanted = choice.names(store.card, store.rows[query])
    cells = [_cell(store, query, "query", "query")]
    for neighbour in ranked:
        said = f"{neighbour.cosine:.3f}"
        found = choice.names(store.card, store.rows[neighbour.position])
        judged = verdict(wanted, found) if store.card.labels else "unjudged"
        cells.append(_cell(store, neighbour.position, judged, f"{SIGNS.get(judged, '')} {said}".strip()))
    return tag("div", *cells, class_="row")


def _cell(store: Store, position: int, kind: str, sign: str) -> Markup:
    name = choice.title(store, position)
    picture = pictures.patch(store.images[position], store.card.bands, name)
    return tag("div", picture, tag("b", sign), tag("small", name), class_=f"cell {kind}")
