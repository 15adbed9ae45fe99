from __future__ import annotations

import base64
import json
import re
import resource
import shutil
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from tests.training.conftest import TINY
from training import run as command
from training.dino import checkpoint
from training.runs import Run
from training.stores.store import Card, Entry, Row, Source, write

VOID = {"img", "meta"}
SIDE = 2 * 32 // 8  # tokens of a patch that is enlarged to twice TINY's image size


class Page(HTMLParser):
    """A page as a browser reads it; fails on a tag that is not closed where it should be."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[tuple[Image.Image, dict[str, str | None]]] = []
        self.addresses: list[str] = []
        self.charts: list[str] = []
        self.feed(file.read_text())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]
        if tag == "img":
            kind, data = (given["src"] or "").split(";base64,")
            picture = Image.open(BytesIO(base64.b64decode(data)))
            picture.load()
            assert kind == f"data:image/{(picture.format or '').lower()}"
            assert picture.size == (int(given["width"] or 0), int(given["height"] or 0))
            assert given["alt"]
            self.pictures.append((picture, given))
        if tag == "svg":
            self.charts.append(given["aria-label"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["h2"]:
            self.headings.append(data)
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def report(run: Path, *more: str) -> Page:
    assert command.main(["report", "--run", str(run), *more]) == 0
    return Page(Run(run).report)


@pytest.fixture(scope="module")
def pretrained(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with nothing but pretraining."""
    run = tmp_path_factory.mktemp("runs") / "pretrained"
    assert command.main(["pretrain", str(tiles), "--run", str(run), *TINY, "--epochs", "0.5"]) == 0
    return run


@pytest.fixture(scope="module")
def evaluated(pretrained: Path, mosaics: Path) -> Path:
    """A run that was probed and evaluated."""
    run = pretrained.with_name("evaluated")
    shutil.copytree(pretrained, run)
    assert command.main(["probe", str(mosaics), "--run", str(run)]) == 0
    assert command.main(["evaluate", str(mosaics), "--run", str(run), "--rows", "statistics,ours"]) == 0
    return run


@pytest.fixture
def run(evaluated: Path, tmp_path: Path) -> Path:
    """A copy to change, under the same name."""
    return Path(shutil.copytree(evaluated, tmp_path / evaluated.name))


def test_a_run_that_went_through_everything_has_every_section_and_needs_nothing_else(
    run: Path, tiles: Path, mosaics: Path
) -> None:
    page = report(run, "--stores", str(mosaics), str(tiles))
    assert page.headings == [
        "How it learnt",
        "What it is worth",
        "What it sees: eurosat-mosaics",
        "What it sees: eurosat",
    ]
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert not re.search(r"https?:|//|url\(|@import|<script", Run(run).report.read_text().partition("</style>")[0])
    assert "<script" not in Run(run).report.read_text()
    for said in ("evaluated", "image statistics", "Nearest neighbours", "What the teacher attends to", "errs most"):
        assert said in page.text, said
    charts = " | ".join(page.charts)
    for said in ("Loss and teacher entropy", "Nearest-neighbour accuracy", "Learning rate", "Weight decay", "Momentum"):
        assert said in charts, said


def test_pictures_are_patches_and_maps_of_tokens(run: Path) -> None:
    page = report(run)  # of the store that the probe was fitted on
    maps = [given for picture, given in page.pictures if picture.size == (SIDE, SIDE)]
    assert all(given["class"] == "tokens" for given in maps)
    named = [given["alt"] or "" for given in maps]
    assert sum(name.startswith("mean: ") for name in named) == 4
    assert sum(name.startswith("head ") for name in named) == 4 * 3
    assert sum(name.startswith("token embeddings: ") for name in named) == 12
    patches = [picture for picture, _ in page.pictures if picture.size == (120, 120)]
    assert len(patches) == 4 + 12 + 6 * 6 + 6
    assert len(patches) + len(maps) == len(page.pictures)


def test_a_run_with_pretraining_only_has_a_page_that_says_what_is_missing(pretrained: Path) -> None:
    page = report(pretrained)
    assert page.headings == ["How it learnt", "What it is worth", "What it sees"]
    assert "Nothing has been evaluated yet" in page.text
    assert "no store was named (--stores)" in page.text
    assert page.pictures == []


def test_a_run_killed_before_its_first_record_has_a_page(pretrained: Path, tmp_path: Path, tiles: Path) -> None:
    (tmp_path / "begun").mkdir()
    shutil.copy(pretrained / "config.json", tmp_path / "begun")
    page = report(tmp_path / "begun", "--stores", str(tiles))
    assert "No step of pretraining has been logged yet" in page.text
    assert "there is no checkpoint yet" in page.text


def test_a_store_without_labels_and_splits_shows_what_it_can(pretrained: Path, tmp_path: Path) -> None:
    images = tuple(np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8))
    card = Card("bare", (32, 32, 3), ("B04", "B03", "B02"), 10, {"divisor": 2000}, ())
    rows = tuple(Row(f"patch {i}") for i in range(5))
    write(tmp_path / "bare", Source(card, ["all"], lambda _: [Entry("all", images, rows)]))
    out = tmp_path / "elsewhere" / "page.html"
    assert (
        command.main(["report", "--run", str(pretrained), "--stores", str(tmp_path / "bare"), "--out", str(out)]) == 0
    )
    page = Page(out)
    assert len(page.pictures) == 4 * 5 + 5 * 2
    assert "Nearest neighbours need the splits train and test, which bare has not" in page.text
    assert "patch 3" in page.text


def test_everything_that_evaluation_knows_is_drawn(run: Path) -> None:
    own, other = ({**entry("evaluated"), **CALIBRATION}, entry("image statistics", 0.4))
    Run(run).evaluation.write_text(json.dumps([other, own]))
    page = report(run)
    html = Run(run).report.read_text()
    assert "0.700–0.900" in page.text
    assert "<small>12 of 40</small>" in html
    assert 'class="notch" style="left:30.00%"' in html
    assert 'class="whisker" style="left:70.00%;width:20.00%"' in html
    assert html.index("evaluated: 0.800 (0.700–0.900)") < html.index("image statistics: 0.400 (0.700–0.900)")
    assert "none in test" in page.text
    assert "Before calibration: error 0.100" in page.text
    assert "After calibration: error 0.020" in page.text


def test_an_evaluation_without_intervals_and_calibration_says_so(run: Path) -> None:
    plain = entry("evaluated")
    for key in [key for key in plain if key.endswith("interval") or key == "positives"]:
        del plain[key]
    Run(run).evaluation.write_text(json.dumps([plain]))
    page = report(run)
    assert "Intervals have not been computed" in page.text
    assert "has not been measured" in page.text
    assert "Whiskers" not in page.text


def test_figures_of_other_weights_than_the_newest_are_told_as_such(run: Path) -> None:
    newest = checkpoint.latest(Run(run).checkpoints)
    assert newest is not None
    assert "other weights" not in report(run).text
    tensors = load_file(newest[1])
    tensors["teacher.backbone.cls_token"] += 1
    save_file(tensors, Run(run).checkpoints / "step_99999999.safetensors")
    text = report(run).text
    assert "The figures of evaluated are of other weights than its newest" in text
    assert "the probe is of other weights than the run’s newest" in text


def test_names_are_text_and_nothing_else(run: Path) -> None:
    name = """<img src=x onerror="alert(1)"> & 'sons'"""
    Run(run).evaluation.write_text(json.dumps([entry("evaluated", 0.8, name)]))
    page = report(run)
    assert name in page.texts
    assert name not in Run(run).report.read_text()


def test_the_same_run_has_the_same_page(run: Path) -> None:
    report(run)
    first = Run(run).report.read_bytes()
    report(run)
    assert Run(run).report.read_bytes() == first


def test_a_page_that_cannot_be_written_to_its_end_leaves_the_old_one_whole(run: Path) -> None:
    report(run)
    whole = Run(run).report.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) // 2, before[1]))
    try:
        assert command.main(["report", "--run", str(run)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Run(run).report.read_bytes() == whole


def test_what_is_no_run_or_has_other_bands_is_refused(
    pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["report", "--run", str(tmp_path)]) == 1
    assert "is no run" in capsys.readouterr().err
    card = Card("nir", (32, 32, 1), ("B08",), 10, {"divisor": 2000}, ())
    image = np.zeros((32, 32, 1), np.uint8)
    write(tmp_path / "nir", Source(card, ["all"], lambda _: [Entry("all", (image,), (Row("0"),))]))
    assert command.main(["report", "--run", str(pretrained), "--stores", str(tmp_path / "nir")]) == 1
    assert "holds B08, but the run reads B04, B03, B02" in capsys.readouterr().err


def entry(representation: str, value: float = 0.8, label: str = "Field") -> dict[str, object]:
    """An entry of evaluation.json with everything but calibration."""
    around = [0.7, 0.9]
    return {
        "representation": representation, "key": representation, "store": "made", "split": "test", "n": 40,
        "macro": value, "macro_interval": around, "micro": value, "micro_interval": around,
        "per_label": {label: value, "Ice": None}, "per_label_interval": {label: around, "Ice": None},
        "positives": {label: 12, "Ice": 0},
    }  # fmt: skip


CURVE = [{"from": 0.0, "to": 0.1, "n": 90, "probability": 0.04, "frequency": 0.05}]
CALIBRATION = {"calibration": {"ece_before": 0.1, "ece_after": 0.02, "before": CURVE, "after": CURVE}}
