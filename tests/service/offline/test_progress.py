from __future__ import annotations

import os
import pty
import sys

import pytest

from service.offline.progress import Progress


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_a_line_on_a_terminal_is_no_wider_than_it(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = pty.openpty()
    with os.fdopen(its, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", str(columns))
        progress = Progress(1_000_000, 10**9)
        progress.advance(10**5)
        progress.end()
        said = os.read(ours, 1000).decode()
    os.close(ours)
    (line,) = said.strip("\r\n").split("\r")
    assert len(line) == columns - 1
    assert "of 1000000 tiles" in line
    assert line.startswith("[") == (columns == 200)
