"""Fuzzes the walk over a TIFF's header, led by the branches that an input newly takes.

    python -m tests.fuzz.header [--seconds 180] [--folder .fuzz]

A finding is any exception other than a refusal by a code of the table, a number over its limit in a header that was
taken, or more reads than the limits allow. Starts from the corpus of the tests and from what earlier runs found worth
keeping in the folder; what failed lies there too. Ends with 1 if there was a finding. Needs the extra `fuzz`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service.imagery.tiff"]):
    from service.imagery.tiff import directories, header

from service.errors import STATUS
from service.imagery.errors import ImageryError
from service.imagery.tiff.limits import Limits

# Small, so that inputs of a few hundred bytes reach every one of them.
LIMITS = Limits(
    max_pixels=10_000, max_bands=5, max_blocks=64, max_block_bytes=20_000, max_decoded_bytes=40_000, max_directories=4,
    max_entries=60, max_metadata_bytes=200,
)  # fmt: skip
MOST_READS = 2 + 3 * LIMITS.max_directories + 3 * LIMITS.max_entries
LARGEST_SEED = 4096


class _Counting(directories._Walk):
    reads = 0

    def read(self, form: str, at: int) -> tuple[int, ...]:
        _Counting.reads += 1
        return super().read(form, at)


def one(data: bytes) -> None:
    """Raises if the walk does what it must not."""
    _Counting.reads = 0
    try:
        about = header.read(data, LIMITS)
    except ImageryError as error:
        assert error.code in STATUS, error.code
        assert error.detail
    else:
        assert 0 < about.pixels <= LIMITS.max_pixels
        assert 0 < about.bands <= LIMITS.max_bands
        assert 0 < about.block_bytes <= LIMITS.max_block_bytes
        assert about.block_bytes <= about.decoded_bytes <= LIMITS.max_decoded_bytes
        assert len(about.gdal_metadata) <= LIMITS.max_metadata_bytes
    assert _Counting.reads <= MOST_READS, f"{_Counting.reads} reads"


def plant(folder: Path) -> None:
    """The corpus as files for the fuzzer to begin with."""
    from tests.corpus.canary import Canary
    from tests.corpus.cases import corpus
    from tests.imagery import geotiff, reflectance

    with (
        tempfile.TemporaryDirectory() as place,
        Canary(Path(place) / "canary", geotiff(reflectance(side=16))) as canary,
    ):
        small = (case.data for case in corpus(canary, 300) if len(case.data) <= LARGEST_SEED)
        for number, data in enumerate(islice(small, 2000)):
            (folder / f"corpus-{number:04}").write_bytes(data)


def fuzz(seconds: int, folder: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    directories._Walk = _Counting
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST_SEED}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(folder / "inputs"), *options], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzzes in a process of its own, since libFuzzer ends the one that it is in, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.here:
        fuzz(asked.seconds, asked.folder)
    (asked.folder / "inputs").mkdir(parents=True, exist_ok=True)
    plant(asked.folder / "inputs")
    before = set(asked.folder.glob("*-*"))
    command = [sys.executable, "-m", "tests.fuzz.header", "--here"]
    said = ["--seconds", str(asked.seconds), "--folder", str(asked.folder)]
    executions = "0"
    with subprocess.Popen([*command, *said], stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr or ():
            print(line, end="", file=sys.stderr, flush=True)
            if "stat::number_of_executed_units:" in line:
                executions = line.split()[-1]
    findings = sorted(set(asked.folder.glob("*-*")) - before)
    print(f"{int(executions):,} executions in {asked.seconds / 60:.1f} minutes, {len(findings)} findings")
    print(*findings, sep="\n", end="\n" if findings else "")
    return 1 if findings or running.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
