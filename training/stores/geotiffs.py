"""Any folder of GeoTIFFs, with or without labels: one's own imagery. Scenes are cut into patches."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.tiff.limits import Limits
from training.stores.decoding import decode_all, wkb
from training.stores.store import SPLITS, Card, Entry, Row, Source

SUFFIXES = (".tif", ".tiff")
# A whole Sentinel-2 tile is 10,980² pixels, and people trust files of their own.
LARGEST = Limits(
    max_pixels=200_000_000, max_block_bytes=2_000_000_000, max_decoded_bytes=10_000_000_000, max_blocks=2_000_000
)


@dataclass(frozen=True)
class Labelled:
    """What the CSV says of a file."""

    labels: tuple[str, ...]
    split: str


def read(
    folder: Path, name: str, spec: InputSpec, labels: Path | None = None, file_bands: tuple[str, ...] | None = None,
    boa_offset: int | None = None, scale: float | None = None,
) -> Source:  # fmt: skip
    """Every GeoTIFF below `folder`; `spec` says what a patch is, the last three are those of `ReadOptions`.

    `labels` is a CSV with the columns file (path below the folder), labels (separated by |) and, if
    wanted, split; without it 60 / 20 / 20 by a hash of the file's path. Files it does not name stay unlabelled.
    """
    files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{folder}: no GeoTIFFs (*.tif, *.tiff)")
    labelled = _labels(labels) if labels else {}
    if unknown := sorted(set(labelled) - set(files)):
        raise ValueError(f"{labels}: {len(unknown)} files are not below {folder}, the first is {unknown[0]}")
    card = Card(
        name=name,
        image_shape=(spec.patch_px, spec.patch_px, len(spec.bands)),
        bands=spec.bands,
        gsd_m=spec.gsd_m,
        stretch={"divisor": spec.divisor},
        labels=tuple(sorted({label for known in labelled.values() for label in known.labels})),
        source=str(folder),
    )
    options = ReadOptions(file_bands, boa_offset, scale, limits=LARGEST)

    def entries(names: Sequence[str]) -> Iterable[Entry]:
        for file, tile in decode_all(names, lambda one: [TileFile((folder / one).read_bytes())], spec, options):
            if isinstance(tile, str):
                yield Entry(file, reason=tile)
                continue
            known, stem = labelled.get(file), str(Path(file).with_suffix(""))
            rows = tuple(
                Row(
                    patch_id=f"{stem}_{facts.window[0]}_{facts.window[1]}" if len(tile.facts) > 1 else stem,
                    split=known.split if known else None,
                    labels=known.labels if known else (),
                    geometry=wkb(facts.footprint),
                    source=file,
                )
                for facts in tile.facts
            )
            yield Entry(file, tuple(tile.images), rows)

    said = [file_bands, boa_offset, scale, {file: asdict(known) for file, known in sorted(labelled.items())}]
    return Source(card, files, entries, json.dumps(said))


def _labels(file: Path) -> dict[str, Labelled]:
    with file.open(newline="") as lines:
        table = csv.DictReader(lines)
        if table.fieldnames is None or not {"file", "labels"} <= set(table.fieldnames):
            raise ValueError(f"{file}: needs the columns file and labels")
        found = {}
        for row in table:
            split = (row.get("split") or "").strip() or _split_of(row["file"])
            if split not in SPLITS:
                raise ValueError(f"{file}: split {split!r} of {row['file']} is none of {', '.join(SPLITS)}")
            labels = tuple(label.strip() for label in (row["labels"] or "").split("|") if label.strip())
            found[row["file"]] = Labelled(labels, split)
    return found


def _split_of(name: str) -> str:
    digit = int(hashlib.sha1(name.encode()).hexdigest(), 16) % 10
    return "train" if digit <= 5 else "validation" if digit <= 7 else "test"
