from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.cpus import usable_cpus

HERE = len(os.sched_getaffinity(0))


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a host that has more than a container may use."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    """What the kernel shows under /proc and /sys."""
    for name, content in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("quota", "cpus"), [("max 100000", 8), ("200000 100000", 2), ("50000 100000", 1), ("150000 100000", 1), ("", 8)]
)
def test_a_quota_of_cgroups_2_counts_and_half_a_processor_is_none_to_run_another_thread_on(
    tmp_path: Path, quota: str, cpus: int
) -> None:
    assert usable_cpus(system(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": f"{quota}\n"})) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 8), ("400000", 4), ("1000", 1), ("1600000", 8)])
@pytest.mark.parametrize("path", ["/", "/docker/0123"])  # as the host calls it, which the container cannot see
def test_so_does_one_of_cgroups_1(tmp_path: Path, quota: str, cpus: int, path: str) -> None:
    groups = f"12:pids:{path}\n4:cpu,cpuacct:{path}\n3:cpuset:{path}\n0::{path}\n"
    folder = "sys/fs/cgroup/cpu,cpuacct"
    files = {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    assert usable_cpus(system(tmp_path, groups, files)) == cpus


def test_the_smallest_quota_of_those_around_it_counts(tmp_path: Path) -> None:
    quotas = {"": "max 100000", "/jobs": "300000 100000", "/jobs/ours": "600000 100000"}
    files = {f"sys/fs/cgroup{group}/cpu.max": quota for group, quota in quotas.items()}
    assert usable_cpus(system(tmp_path, "0::/jobs/ours\n", files)) == 3


def test_affinity_counts_where_there_are_no_cgroups_and_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert usable_cpus(tmp_path) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7})
    assert usable_cpus(tmp_path) == 2
    assert usable_cpus(system(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": "400000 100000"})) == 2


def test_of_this_machine_all_are_usable_or_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= usable_cpus() <= HERE
