"""Runs the benchmarks of the service and writes what they found into README.md, between two lines that mark the place.

    python -m tests.benchmarks.results [--readme README.md] [--picture examples/concurrency.png] [--short]

Half an hour, in which nothing else should run; `--short` only shows that everything works. Each benchmark prints
its rows for the table itself. Peers that are not installed take no part:

    pip install litserve onnxruntime onnx onnxscript
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.cpus import usable_cpus
from tests.conftest import ROOT

BEGIN, END = "<!-- results: python -m tests.benchmarks.results -->", "<!-- end of results -->"
HEAD = ("| command | ours | compared with | ratio |", "|---|---|---|---|")
PACKAGES = ("openvino", "torch", "timm", "onnxruntime", "fastapi", "uvicorn", "litserve", "rasterio")
EXTENSIONS = {"amx_tile": "AMX", "avx512_bf16": "AVX512_BF16", "avx512_vnni": "AVX512_VNNI", "avx_vnni": "AVX_VNNI"}
#: what runs, and with what beside it when all is to be short
BENCHMARKS = {
    ("engines",): ("--rounds", "1", "--batches", "8"),
    ("peers",): ("--rounds", "1", "--seconds", "4"),
    ("overhead",): ("--rounds", "1", "--seconds", "4"),
    ("overload",): ("--rounds", "1", "--seconds", "4"),
    ("start",): ("--rounds", "1"),
    ("encoders",): ("--rounds", "2"),
}
SHORT_CURVES = ("--rounds", "1", "--seconds", "3", "--clients", "1", "8")


def rows_of(command: Sequence[str]) -> list[str]:
    """What a benchmark prints as rows, while all of it is shown. Raises SystemExit if it fails."""
    print(f"— python -m tests.benchmarks.{' '.join(command)}", flush=True)
    rows = []
    with subprocess.Popen(
        [sys.executable, "-m", f"tests.benchmarks.{command[0]}", *command[1:]],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(line, end="", flush=True)
            rows += [line.rstrip()] if line.startswith("| ") else []
    if process.returncode:
        raise SystemExit(f"{command[0]} failed; {BEGIN} is as it was")
    return rows


def machine() -> str:
    """What the numbers are of: the processor, and what ran."""
    first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    extensions = [name for flag, name in EXTENSIONS.items() if flag in facts.get("flags", "").split()]
    processor = f"{facts.get('model name', platform.machine())}, {' and '.join(extensions) or 'neither AMX nor VNNI'}"
    versions = [f"{package} {found}" for package in PACKAGES if (found := _version(package))]
    return (
        f"{usable_cpus()} cores ({processor}); Python {platform.python_version()}, {', '.join(versions)}. ViT-S/16 at "
        "224 px, random weights, except where the bundled starter is named. Medians of rounds in which all took turns, "
        "with the lowest and the highest of a ratio:"
    )


def _version(package: str) -> str | None:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def page(rows: Sequence[str], picture: str) -> str:
    """What stands between the marks."""
    curves = f"![Throughput and latency over 1 to 64 clients]({picture})"
    command = f"(`python -m tests.benchmarks.concurrency {picture}`)"
    return "\n".join([BEGIN, machine(), "", *HEAD, *rows, "", curves, "", command, END])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--picture", default="examples/concurrency.png", help="beside the README; from its folder")
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    text = asked.readme.read_text()
    between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not between.search(text):
        raise SystemExit(f"{asked.readme} has no two lines {BEGIN} and {END}")
    rows = [
        row for command, short in BENCHMARKS.items() for row in rows_of([*command, *(short if asked.short else ())])
    ]
    picture = asked.readme.resolve().parent / asked.picture
    picture.parent.mkdir(exist_ok=True)
    rows_of(["concurrency", str(picture), *(SHORT_CURVES if asked.short else ())])
    asked.readme.write_text(between.sub(lambda _: page(rows, asked.picture), text))


if __name__ == "__main__":
    main()
