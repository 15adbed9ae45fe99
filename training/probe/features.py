"""Features of a store, computed once and kept: float32, N × features, memory-mapped."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.device import keep_memory
from training.files import write_json
from training.probe.representations import Representation
from training.progress import Progress
from training.stores.store import Store

BATCH = 64
SAVE_EVERY = 512  # images


def cached(representation: Representation, store: Store, folder: Path) -> NDArray[np.float32]:
    """Features of every image of a store, from the cache or computed; a killed computation goes on where it was."""
    values, state = _files(representation, store, folder)
    done, total = _done(state), len(store.images)
    if done < total:
        folder.mkdir(parents=True, exist_ok=True)
        keep_memory()
        _compute(representation, store, values, state, done)
    return np.load(values, mmap_mode="r")  # type: ignore[no-any-return]  # numpy says Any


def of_some(
    representation: Representation, store: Store, folder: Path, positions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Features of some images of a store, from the cache if it holds the whole store, else computed and not kept."""
    values, state = _files(representation, store, folder)
    if _done(state) == len(store.images):
        return np.load(values, mmap_mode="r")[positions]  # type: ignore[no-any-return]  # numpy says Any
    keep_memory()
    found = []
    with Progress(f"features {representation.name} of {store.card.name}", len(positions), "images") as progress:
        for start in range(0, len(positions), BATCH):
            found.append(representation(store.images[positions[start : start + BATCH]]))
            progress.advance(len(found[-1]))
    return np.concatenate(found)


def _files(representation: Representation, store: Store, folder: Path) -> tuple[Path, Path]:
    """Values, and how far they have come."""
    identity = [representation.key, str(store.path.resolve()), store.created, len(store.images)]
    stem = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
    return folder / f"{stem}.npy", folder / f"{stem}.json"


def _done(state: Path) -> int:
    return int(json.loads(state.read_text())["done"]) if state.exists() else 0


def _compute(representation: Representation, store: Store, values: Path, state: Path, done: int) -> None:
    total = len(store.images)
    said = {"representation": representation.name, "key": representation.key, "store": store.card.name}
    with Progress(f"features {representation.name} of {store.card.name}", total, "images", done) as progress:
        kept: np.memmap[tuple[int, int], np.dtype[np.float32]] | None = None
        for start in range(done, total, BATCH):
            found = representation(store.images[start : start + BATCH])
            if kept is None:
                mode = "r+" if done else "w+"
                kept = np.lib.format.open_memmap(values, mode, np.float32, (total, found.shape[1]))
            kept[start : start + len(found)] = found
            reached = start + len(found)
            if reached == total or (start // BATCH + 1) % (SAVE_EVERY // BATCH) == 0:
                kept.flush()
                write_json(state, {**said, "done": reached})
            progress.advance(len(found))
