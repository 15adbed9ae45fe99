"""Latency and throughput of the service and of its peers, with 1 to 64 clients that ask again when answered.

    python -m tests.benchmarks.concurrency examples/concurrency.png [--rounds 3] [--seconds 10] [--clients 1 2 4 … 64]

As `python -m tests.benchmarks.peers`: ViT-S/16 at 224 px with random weights and int8, the engine that the service
chooses by itself, peers in float32, all in turns while the others are stopped. Draws medians over the rounds, and
prints them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from PIL import Image

from tests.benchmarks.load import Request, milliseconds, turn
from tests.benchmarks.peers.sides import BATCHED, PLAIN, ours, peers
from tests.benchmarks.processes import resumed
from tests.benchmarks.vit_small import save_vit_small, tiles

OURS = "this service"
COLOURS = {OURS: "#2f6f9f", PLAIN: "#b5651d", BATCHED: "#7d8a2e"}
SHORT = {PLAIN: "FastAPI and timm", BATCHED: "LitServe and timm"}
COLOURS_KEPT = 64  # of the picture: a third of its bytes
INK, QUIET, LINE = "#1d2733", "#8a949e", "#d6dbe0"
LABEL_HEIGHT = 0.13  # of an axis

Figures = Mapping[int, tuple[float, float, float]]  #: images/s, p50 and p99 in seconds, by number of clients


def measured(asked: argparse.Namespace) -> dict[str, Figures]:
    """By side; also printed as they come."""
    requests = [Request(tile, query="outputs=embedding,probabilities", is_last=False) for tile in tiles()]
    found: dict[str, dict[int, list[tuple[float, float, float]]]] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as held:
        artifact = save_vit_small(Path(name) / "artifact")
        sides = {OURS: held.enter_context(ours(Path(name), artifact))}
        sides |= held.enter_context(peers(Path(name), artifact))
        for number, clients in itertools.product(range(asked.rounds), asked.clients):
            for side, service in sides.items():
                with resumed(service.process.pid):
                    done = asyncio.run(turn(service, itertools.cycle(requests), clients, asked.seconds))
                p50, p99 = (milliseconds(done.replies, share) / 1000 for share in (0.5, 0.99))
                found.setdefault(side, {}).setdefault(clients, []).append((done.rate, p50, p99))
                said = f"{done.rate:.1f} images/s, p50 {p50:.2f} s, p99 {p99:.2f} s"
                print(f"round {number}, {clients} clients, {side}: {said}", flush=True)
    return {side: {n: _medians(some) for n, some in by.items()} for side, by in found.items()}


def _medians(rounds: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    rate, p50, p99 = (statistics.median(values) for values in zip(*rounds, strict=True))
    return rate, p50, p99


def draw(found: Mapping[str, Figures], out: Path) -> None:
    """Throughput on the left, latency on the right."""
    figure = Figure(figsize=(10.5, 3.9), dpi=120)
    left, right = figure.add_axes((0.045, 0.14, 0.325, 0.74)), figure.add_axes((0.55, 0.14, 0.325, 0.74))
    counts = sorted(next(iter(found.values())))
    for side, by in found.items():
        rates, p50, p99 = zip(*(by[n] for n in counts), strict=True)
        left.plot(counts, rates, color=COLOURS[side], linewidth=2, marker="o", markersize=3.5)
        right.plot(counts, p50, color=COLOURS[side], linewidth=2, marker="o", markersize=3.5)
        right.plot(counts, p99, color=COLOURS[side], linewidth=1, linestyle=(0, (4, 2)))
    left.set(ylim=(0, None))
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
    right.yaxis.set_major_formatter(FuncFormatter(_seconds))
    right.yaxis.set_minor_locator(NullLocator())
    for axes, title in ((left, "Throughput, images/s"), (right, "Latency: median; p99 dashed")):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(counts))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("clients, each asking again when answered", fontsize=9, color=INK)
        axes.set_title(title, fontsize=10, color=INK, loc="left", weight="bold", pad=10)
        axes.tick_params(labelsize=8.5, colors=QUIET, labelcolor=INK, length=3)
        axes.grid(axis="y", color=LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color(LINE)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
    last = counts[-1]
    _label(left, last, {side: (by[last][0], f"{by[last][0]:.0f} images/s") for side, by in found.items()})
    _label(right, last, {side: (by[last][1], _seconds(by[last][1])) for side, by in found.items()})
    drawn = BytesIO()
    figure.savefig(drawn, facecolor="white")
    Image.open(drawn).convert("RGB").quantize(COLOURS_KEPT).save(out, optimize=True)


def _seconds(seconds: float, _position: int = 0) -> str:
    return f"{seconds:.2g} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _label(axes: Axes, last: float, ends: Mapping[str, tuple[float, str]]) -> None:
    """Names of the lines at their ends, moved apart where they would lie on each other."""
    to_share = axes.transData + axes.transAxes.inverted()
    place = -1.0
    for side, (value, figure) in sorted(ends.items(), key=lambda item: item[1][0]):
        place = max(place + LABEL_HEIGHT, float(to_share.transform((last, value))[1]))
        axes.text(
            1.03, place, f"{SHORT.get(side, side)}\n{figure}", transform=axes.transAxes,
            fontsize=8.5, color=COLOURS[side], va="center", linespacing=1.3,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture, a PNG")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of a turn, after its warm-up")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    asked = parser.parse_args()
    found = measured(asked)
    draw(found, asked.out)
    for side, by in found.items():
        print(side)
        for clients, (rate, p50, p99) in by.items():
            print(f"  {clients:3} clients  {rate:7.1f} images/s   p50 {_seconds(p50):>8}   p99 {_seconds(p99):>8}")


if __name__ == "__main__":
    main()
