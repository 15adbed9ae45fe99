from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.imagery import eurosat_like
from tests.waiting import wait_until
from training.stores import store
from training.stores.store import Card, Entry, Row, Source, Store, write


def source(count: int, broken: tuple[int, ...] = ()) -> Source:
    """Images whose pixels are their number."""

    def read(names: object) -> list[Entry]:
        return [
            Entry(name, reason="broken")
            if int(name) in broken
            else Entry(name, (np.full((2, 2, 3), int(name), np.uint8),), (Row(name, "train", ("a",)),))
            for name in names
        ]

    card = Card("numbers", (2, 2, 3), ("B04", "B03", "B02"), 10, {"divisor": 2000}, ("a",))
    return Source(card, [str(i) for i in range(count)], read)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert write(tmp_path, source(5)) == []
    made = Store.open(tmp_path)
    assert made.card == source(5).card
    assert made.images.shape == (5, 2, 2, 3)
    assert made.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert [row.patch_id for row in made.rows] == ["0", "1", "2", "3", "4"]
    assert made.rows[0] == Row("0", "train", ("a",))
    saved = json.loads((tmp_path / "store.json").read_text())
    assert (saved["version"], saved["shape"], saved["dtype"], saved["complete"]) == (1, [5, 2, 2, 3], "uint8", True)


def test_what_cannot_be_read_is_listed_and_leaves_no_gap(tmp_path: Path) -> None:
    assert [(entry.name, entry.reason) for entry in write(tmp_path, source(5, broken=(1, 3)))] == [
        ("1", "broken"),
        ("3", "broken"),
    ]
    made = Store.open(tmp_path)
    assert made.images[:, 0, 0, 0].tolist() == [0, 2, 4]
    assert [row.patch_id for row in made.rows] == ["0", "2", "4"]


def test_a_finished_store_is_left_as_it_is_and_still_tells_what_was_broken(tmp_path: Path) -> None:
    write(tmp_path, source(5, broken=(1,)))
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert [entry.name for entry in write(tmp_path, source(5, broken=(1,)))] == ["1"]
    assert {file.name: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before


def test_a_folder_with_something_else_is_not_written_over(tmp_path: Path) -> None:
    write(tmp_path, source(5))
    with pytest.raises(ValueError, match="another store"):
        write(tmp_path, source(6))


def test_a_write_that_was_torn_is_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECKPOINT_EVERY", 2)
    whole = source(7)

    def until_the_fifth(names: object) -> object:
        yield from list(whole.read(names))[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "torn", Source(whole.card, whole.names, until_the_fifth))
    with (tmp_path / "torn" / "images.npy").open("ab") as images:
        images.write(b"half an image")
    with (tmp_path / "torn" / "progress.jsonl").open("a") as progress:
        progress.write('{"rows": [{"patch')
    asked: list[str] = []

    def the_rest(names: object) -> object:
        asked.extend(names)
        return whole.read(names)

    write(tmp_path / "torn", Source(whole.card, whole.names, the_rest))
    write(tmp_path / "unbroken", whole)
    assert asked == ["4", "5", "6"]  # four were saved, the fifth was not
    for name in ("images.npy", "index.parquet"):
        assert (tmp_path / "torn" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_a_preparation_killed_before_its_first_image_can_be_begun_again(tmp_path: Path) -> None:
    write(tmp_path / "unbroken", source(5))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "progress.jsonl.new").touch()  # killed while it wrote the first line
    write(tmp_path / "torn", source(5))
    assert (tmp_path / "torn" / "index.parquet").read_bytes() == (tmp_path / "unbroken" / "index.parquet").read_bytes()


def test_a_half_made_store_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no store"):
        Store.open(tmp_path)
    (tmp_path / "progress.jsonl").touch()
    with pytest.raises(FileNotFoundError, match="did not finish"):
        Store.open(tmp_path)


def test_prepare_killed_with_minus_9_goes_on_and_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    tiles = eurosat_like(tmp_path / "eurosat", each=60)
    command = [sys.executable, str(ROOT / "training/run.py"), "prepare", "eurosat", str(tiles), "--out"]
    subprocess.run([*command, str(tmp_path / "unbroken")], check=True)

    # A pipe in place of a late tile holds the reader there until it is killed.
    held = tiles / "SeaLake" / "SeaLake_60.jpg"
    content = held.read_bytes()
    held.unlink()
    os.mkfifo(held)
    killed = subprocess.Popen([*command, str(tmp_path / "killed")])
    progress = tmp_path / "killed" / "progress.jsonl"
    wait_until(lambda: progress.exists() and progress.read_text().count("\n") >= 2 * store.CHECKPOINT_EVERY)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    held.unlink()
    held.write_bytes(content)

    again = subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True, text=True)
    assert f"{2 * store.CHECKPOINT_EVERY}/600" in again.stderr
    for name in ("images.npy", "index.parquet"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()
