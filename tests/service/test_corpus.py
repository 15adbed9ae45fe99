from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest
import rasterio
from rasterio.io import MemoryFile

from tests.conftest import Service
from tests.corpus import codecs, formats, leading_elsewhere, mutated, sizes, structures, values
from tests.corpus.canary import Canary
from tests.corpus.cases import Case, collected
from tests.corpus.trial import GOOD, attempt, open_files, watched

CHAPTERS: dict[str, Callable[[Canary], Iterator[Case]]] = {
    "formats": formats.cases,
    "structures": lambda _: structures.cases(),
    "sizes": lambda _: sizes.cases(),
    "codecs": lambda _: codecs.cases(),
    "values": lambda _: values.cases(),
    "leading elsewhere": leading_elsewhere.cases,
    "mutated": lambda _: islice(mutated.cases(), 120),
}
EACH = 3  # of how many cases one is tried here; `python -m tests.corpus` tries all


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    with Canary(tmp_path / "canary", GOOD) as made:
        yield made


def faults_of(service: Service, cases: Iterator[Case], canary: Canary) -> list[str]:
    """What must not be: a code other than the case allows, a touched canary, a good patch refused."""
    with watched(service) as memory, httpx.Client(timeout=60) as client:
        held = open_files(service)
        outcomes = [attempt(service, client, case, canary) for case in cases]
        now = open_files(service)
    assert outcomes and held
    assert memory.has_the_limit, memory
    assert all(now[process] == files for process, files in held.items() if process in now)
    return [f"{outcome.case}: {fault}" for outcome in outcomes for fault in outcome.faults]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_hostile_and_odd_files_are_answered_as_they_should_be_and_a_good_patch_after_each(
    service: Service, canary: Canary, chapter: str
) -> None:
    assert faults_of(service, islice(CHAPTERS[chapter](canary), 0, None, EACH), canary) == []


def test_files_that_others_collected_harm_nothing(service: Service, canary: Canary, shared_data: Path) -> None:
    assert faults_of(service, islice(collected(shared_data), 0, None, 3), canary) == []


def test_decode_processes_with_another_limit_than_they_should_have_are_found_out(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(service) as memory:
        pass
    assert memory.has_the_limit
    monkeypatch.setenv("DECODE_MEMORY_MB", "1400")
    assert not memory.has_the_limit


def test_a_reader_that_takes_any_format_is_led_to_the_canary(canary: Canary) -> None:
    found = dict(formats.leading_formats(canary))
    for name, sees in {"VRT to a file": "a file was opened", "VRT to a host": "a connection was made"}.items():
        canary.touched()
        with rasterio.Env(GDAL_HTTP_TIMEOUT="1"), MemoryFile(found[name]) as file:
            try:
                with file.open() as dataset:
                    dataset.read()
            except rasterio.errors.RasterioError:
                pass
        assert sees in canary.touched()
