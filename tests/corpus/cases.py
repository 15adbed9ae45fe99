"""What a file of the corpus is, and all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from service.errors import STATUS
from tests.corpus.canary import Canary

OK = "ok"  #: answered with a prediction
#: what a file may meet of which only chance knows how it is broken
ANY_REFUSAL = (
    *("not_a_tiff", "truncated", "corrupt", "unsupported_codec", "unsupported_dtype", "image_too_large"),
    *("block_too_large", "band_count", "band_mapping_required", "scale_ambiguous", "no_valid_pixels", "too_small"),
)


@dataclass(frozen=True)
class Case:
    """A file, and the codes under which it may be answered: one, where it is known."""

    kind: str  #: class of input, a row of the table
    name: str
    data: bytes = field(repr=False)
    codes: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def collected(shared_data: Path) -> Iterator[Case]:
    """Files that others collected; what becomes of each is not known beforehand."""
    no_fault_of_ours = (OK, *(code for code, status in STATUS.items() if status < 500))
    for folder in sorted(shared_data.glob("geotiff/*")):
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            kind = f"{folder.name}, fuzzed" if "fuzz_images" in file.parts else folder.name
            yield Case(kind, str(file), file.read_bytes(), no_fault_of_ours)


def corpus(canary: Canary, mutations: int) -> Iterator[Case]:
    """Every class; of mutated good files this many, always the same."""
    from tests.corpus import codecs, formats, leading_elsewhere, mutated, sizes, structures, values
    from tests.oddities import oddities

    for name, data, options in oddities():
        said = {key: ",".join(value) if key == "bands" else str(value) for key, value in options.items()}
        yield Case("odd and good", name, data, (OK,), said)
    yield from formats.cases(canary)
    yield from structures.cases()
    yield from sizes.cases()
    yield from codecs.cases()
    yield from values.cases()
    yield from leading_elsewhere.cases(canary)
    yield from itertools.islice(mutated.cases(), mutations)
