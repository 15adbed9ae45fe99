"""Which patches the page shows, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.stores.store import Card, Row, Store


def names(card: Card, row: Row) -> tuple[str, ...]:
    """Everything that is said to be on a patch: labels, then groups of which at least one member is."""
    groups = {tuple(group["members"]): group["name"] for group in card.groups}
    return (*row.labels, *(groups.get(group, " or ".join(group)) for group in row.any_of))


def title(store: Store, position: int) -> str:
    """What to write under a patch: its names, or its id in a store without labels."""
    row = store.rows[position]
    return ", ".join(names(store.card, row)) or ("no label" if store.card.labels else row.patch_id)


def spread(store: Store, positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of these images, or all, spread over labels: one of each in turn, in an order drawn once (seed 0)."""
    drawn = np.random.default_rng(0).permutation(positions).tolist()
    told = {i: names(store.card, store.rows[i]) or ("no label",) for i in drawn}
    chosen: list[int] = []
    seen: dict[str, int] = {}
    while len(chosen) < min(count, len(drawn)):
        left = [i for i in drawn if i not in chosen]
        best = min(left, key=lambda i: _familiar(told[i], seen))
        chosen.append(best)
        for name in told[best]:
            seen[name] = seen.get(name, 0) + 1
    return np.asarray(chosen, np.int64)


def _familiar(said: Sequence[str], seen: dict[str, int]) -> float:
    """How often labels were chosen before, in the mean of a patch."""
    return sum(seen.get(name, 0) for name in said) / len(said)


def held_out(store: Store) -> NDArray[np.int64]:
    """Positions of the test split, or of all images where there is none."""
    test = store.of_split("test")
    return test if len(test) else np.arange(len(store.rows))
