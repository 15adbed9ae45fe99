from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.waiting import wait_until
from training.stores.processes import Ended, in_order


def square(number: int) -> int:
    return number * number


def square_or_die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        time.sleep(60)
    return number * number


def refuse(number: int) -> int:
    raise LookupError(f"no {number}")


def test_results_come_in_the_order_of_their_tasks() -> None:
    assert list(in_order(square, range(20), 3, 60)) == [(n, n * n) for n in range(20)]
    assert list(in_order(square, range(2), 3, 60)) == [(0, 0), (1, 1)]
    assert list(in_order(square, [], 3, 60)) == []


def test_a_process_that_ends_or_hangs_takes_no_other_task_with_it() -> None:
    done = dict(in_order(square_or_die, range(9), 2, 10))
    told = {n: str(result) for n, result in done.items() if isinstance(result, Ended)}
    assert told == {3: "ended its process", 5: "took longer than 10 s"}
    assert [done[n] for n in (0, 1, 2, 4, 6, 7, 8)] == [0, 1, 4, 16, 36, 49, 64]


def test_tasks_are_taken_as_they_can_be_begun() -> None:
    taken: list[int] = []
    results = in_order(square, (taken.append(n) or n for n in range(100)), 2, 60)
    next(results)
    assert len(taken) == 5
    results.close()


def test_an_exception_is_raised_where_the_results_are_read() -> None:
    with pytest.raises(LookupError, match="no 0") as error:
        list(in_order(refuse, range(3), 2, 60))
    assert "in refuse" in error.value.__notes__[0]


def test_no_process_outlives_a_program_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(
        "import os, time\n"
        "from training.stores.processes import in_order\n"
        "def work(task):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    list(in_order(work, range(4), 2, 600))\n"
    )
    program = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert program.stdout is not None
    pids = {int(program.stdout.readline()) for _ in range(2)}
    program.kill()
    program.wait()
    program.stdout.close()
    assert len(pids) == 2
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
