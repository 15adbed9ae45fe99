"""What was seen of a job on SageMaker: its log, its loss, and how busy its machines were, as files."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training.files import replacing, write_text

LOSS = re.compile(r"pretrain: .*\bloss ([-+0-9.eE]+)")
SAY_EVERY_S = 60.0
#: metric of CloudWatch → what it is called, and the colour of its line
USE = {
    "GPUUtilization": ("GPU", "#1f5fa8"),
    "GPUMemoryUtilization": ("GPU memory", "#9db8d6"),
    "CPUUtilization": ("CPU", "#c0392b"),
    "MemoryUtilization": ("memory", "#e0a39b"),
}

Series = Sequence[tuple[datetime, float]]


@dataclass
class JobRecord:
    """What was seen of one job so far."""

    job: str
    lines: list[str] = field(default_factory=list)
    loss: list[tuple[datetime, float]] = field(default_factory=list)
    use: Mapping[str, Series] = field(default_factory=dict)  #: percent, by metric
    hosts: set[str] = field(default_factory=set)
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _said: float = field(default_factory=time.monotonic)

    def add(self, at: datetime, host: str, text: str) -> None:
        """A line of the log."""
        self.hosts.add(host)
        self.lines.append(f"{at.isoformat(timespec='milliseconds')} {host} {text}")
        if found := LOSS.search(text):
            self.loss.append((at, float(found[1])))

    def is_due(self) -> bool:
        """Whether it is time to say the figures."""
        if time.monotonic() - self._said < SAY_EVERY_S:
            return False
        self._said = time.monotonic()
        return True

    def figures(self) -> str:
        """The newest figures as a line."""
        told = [f"loss {self.loss[-1][1]:.4g}"] if self.loss else []
        told += [f"{title} {self.use[name][-1][1]:.0f} %" for name, (title, _) in USE.items() if self.use.get(name)]
        return ", ".join(told) or "nothing measured yet"

    def save(self, folder: Path) -> list[Path]:
        """Writes log.txt, and plot.png if there is anything to be drawn. Returns what was written."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "log.txt", "".join(f"{line}\n" for line in self.lines))
        kept = [folder / "log.txt"]
        if self.loss or any(self.use.values()):
            self.draw(folder / "plot.png")
            kept.append(folder / "plot.png")
        return kept

    def draw(self, file: Path) -> None:
        """Loss above, use of the machines below, over the same minutes."""
        from matplotlib.figure import Figure  # takes a second to import

        figure = Figure(figsize=(9, 6), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True)
        _line(upper, self._minutes(self.loss), "loss", "#1f5fa8")
        upper.set(ylabel="loss, nats", title=self.job)
        for name, (title, colour) in USE.items():
            if series := self.use.get(name):
                _line(lower, self._minutes(series), title, colour)
        lower.set(xlabel="minutes", ylabel="use, %")
        lower.set_ylim(bottom=0)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
            else:
                axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", color="#777777")
        with replacing(file) as unfinished:
            figure.savefig(unfinished, dpi=120, format="png")

    def _minutes(self, series: Series) -> list[tuple[float, float]]:
        return [((at - self.began).total_seconds() / 60, value) for at, value in series]


def _line(axes: Any, points: Sequence[tuple[float, float]], title: str, colour: str) -> None:
    if points:
        marks = "o-" if len(points) < 3 else "-"
        axes.plot([x for x, _ in points], [y for _, y in points], marks, color=colour, label=title)
