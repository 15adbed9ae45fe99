from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.formats import geoparquet
from service.offline.errors import OfflineError
from service.offline.journal import Journal

SCHEMA = geoparquet.schema(4, ["field"], [])
MODEL = {"name": "tiny", "version": "1", "sha256": "0"}
SIZE = (240, 120)


def journal(folder: Path, **terms: str) -> Journal:
    return Journal(folder / "parts", terms, SCHEMA)


def rows(source: str, *columns: int) -> pa.Table:
    records = [{"id": "x", "source": source, "window": (column, 0, 120, 120)} for column in columns]
    return geoparquet.table(records, MODEL, SCHEMA)


def joined(made: Journal, to: Path) -> list[tuple[str, int]]:
    made.join(to)
    return [(row["source"], row["window"]["column"]) for row in pq.read_table(to).to_pylist()]


def test_what_was_written_is_known_to_the_next_run_and_joined_in_order(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.write(rows("a", 0, 120))
    first.finish("a", SIZE)
    first.write(rows("b", 0))
    first.finish_piece("b", (0, 0, 120, 120))
    first.close()
    second = journal(tmp_path)
    assert second.is_over("a") and not second.is_over("b")
    assert second.finished == {"a": SIZE}
    assert second.has("b", (0, 0, 120, 120)) and not second.has("b", (120, 0, 120, 120))
    assert (second.written("b"), second.patches["b"]) == ({(0, 0, 120, 120)}, 1)
    second.write(rows("b", 120))
    second.finish("b", SIZE)
    assert joined(second, tmp_path / "out.parquet") == [("a", 0), ("a", 120), ("b", 0), ("b", 120)]
    second.remove()
    assert [file.name for file in tmp_path.iterdir()] == ["out.parquet"]


def test_rows_of_a_tile_that_was_refused_half_way_do_not_count(tmp_path: Path) -> None:
    made = journal(tmp_path)
    made.write(rows("a", 0))
    made.write(rows("b", 0))
    made.refuse("a", "corrupt", "no image")
    made.finish("b", SIZE)
    made.close()
    again = journal(tmp_path)
    assert again.refused == {"a": {"code": "corrupt", "detail": "no image"}} and again.is_over("a")
    assert joined(again, tmp_path / "out.parquet") == [("b", 0)]


def test_what_was_refused_for_the_moment_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.write(rows("a", 0))
    first.refuse("a", "decode_timeout", "took too long")
    first.refuse("b", "source_unavailable", "S3 does not answer")
    assert first.is_over("a") and first.is_over("b")  # for this run
    first.close()
    second = journal(tmp_path)
    assert not second.is_over("a") and not second.is_over("b")
    assert second.written("a") == {(0, 0, 120, 120)}
    second.write(rows("a", 120))
    second.finish("a", SIZE)
    second.close()
    third = journal(tmp_path)
    assert third.is_over("a") and not third.refused
    assert joined(third, tmp_path / "out.parquet") == [("a", 0), ("a", 120)]


def test_rows_of_a_tile_that_is_not_finished_do_not_count(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.write(rows("gone", 0))
    first.close()
    second = journal(tmp_path)
    second.write(rows("a", 0))
    second.finish("a", SIZE)
    assert joined(second, tmp_path / "out.parquet") == [("a", 0)]


@pytest.mark.parametrize("bytes_left", [0, 5, 300, -1, -200])
def test_a_line_and_a_batch_that_a_kill_cut_off_are_as_if_not_written(tmp_path: Path, bytes_left: int) -> None:
    made = journal(tmp_path)
    made.write(rows("a", 0))
    whole = sum(file.stat().st_size for file in (tmp_path / "parts").glob("*.arrow"))
    made.write(rows("a", 120))
    made.finish("a", SIZE)
    made.close()
    (stream,) = (tmp_path / "parts").glob("*.arrow")
    content = stream.read_bytes()
    stream.write_bytes(content[: whole + bytes_left] if bytes_left >= 0 else content[: len(content) + bytes_left - 8])
    done = tmp_path / "parts" / "done.jsonl"
    done.write_bytes(done.read_bytes()[:-3])
    again = journal(tmp_path)
    assert not again.is_over("a")
    assert again.written("a") == {(0, 0, 120, 120)}
    again.write(rows("a", 120))
    again.finish("a", SIZE)
    (line,) = map(json.loads, done.read_text().splitlines())
    assert (line["source"], line["size"], line["rows"][0]) == ("a", [*SIZE], 1)
    assert joined(again, tmp_path / "out.parquet") == [("a", 0), ("a", 120)]


def test_a_line_whose_rows_are_lost_does_not_count_and_what_is_there_is_kept(tmp_path: Path) -> None:
    made = journal(tmp_path)
    made.write(rows("a", 0))
    made.finish_piece("a", (0, 0, 120, 120))
    made.write(rows("a", 120))
    made.finish_piece("a", (120, 0, 120, 120))
    made.finish("a", SIZE)
    made.close()
    (stream,) = (tmp_path / "parts").glob("*.arrow")
    os.truncate(stream, stream.stat().st_size - 100)  # as after a loss of power: the line was kept, and not its rows
    for _ in range(2):
        again = journal(tmp_path)
        assert not again.is_over("a") and again.written("a") == {(0, 0, 120, 120)}
        assert again.has("a", (0, 0, 120, 120)) and not again.has("a", (120, 0, 120, 120))
        again.close()
    again = journal(tmp_path)
    again.write(rows("a", 120))
    again.finish("a", SIZE)
    assert joined(again, tmp_path / "out.parquet") == [("a", 0), ("a", 120)]


def test_other_terms_and_another_run_are_refused(tmp_path: Path) -> None:
    made = journal(tmp_path, scale="1")
    with pytest.raises(OfflineError, match="Another run"):
        journal(tmp_path, scale="1")
    made.close()
    with pytest.raises(OfflineError, match="other options"):
        journal(tmp_path, scale="2")
    journal(tmp_path, scale="1").close()
