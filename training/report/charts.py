"""Charts as SVG in the page's own colours, so that they are read by day, by night and on paper."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from training.report.markup import Markup, joined, tag

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 340, 52, 12, 12, 34  # of the drawing and its margins; a unit is a pixel, more or less
POINTS = 240  # of a line; longer ones are averaged

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line of a chart. `kind` is its class in the style: a colour and a dash."""

    name: str
    points: Sequence[Point]
    kind: str = "first"
    dots: Sequence[float] = ()  #: a radius for each point, where points are to be seen
    spread: Sequence[tuple[float, float]] = field(default=())  #: lowest and highest at each point, as a shade


@dataclass(frozen=True)
class Scale:
    """From values to the drawing."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where a value stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def thinned(name: str, points: Sequence[Point], kind: str = "first") -> Line:
    """A line through at most POINTS means, over the shade of what they are means of."""
    each = math.ceil(len(points) / POINTS)
    if each <= 1:
        return Line(name, points, kind)
    bins = [points[i : i + each] for i in range(0, len(points), each)]
    means = [(sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)) for some in bins]
    return Line(name, means, kind, spread=[(min(y for _, y in some), max(y for _, y in some)) for some in bins])


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values within and just around low to high, about so many."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def lines(
    title: str,
    drawn: Sequence[Line],
    x_name: str,
    *,
    level: tuple[float, str] | None = None,
    square: bool = False,
    height: int = 220,
) -> Markup:
    """Lines over a common x with a title, and a legend if there are several.

    `level` is a dotted horizontal with its name; `square` sets both axes to 0–1 and draws the diagonal.
    """
    xs, ys = [x for line in drawn for x, _ in line.points], [y for line in drawn for _, y in line.points]
    ys += [y for line in drawn for pair in line.spread for y in pair] + ([level[0]] if level else [])
    x_low, x_high = (0.0, 1.0) if square else _range(min(0.0, *xs), max(xs))
    y_ticks = ticks(0, 1) if square else ticks(*_range(min(ys), max(ys)))
    x = Scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], height - BOTTOM, TOP)
    parts = [_grid(x, y, y_ticks, x_name)]
    if square:
        parts.append(_path([(0, 0), (1, 1)], x, y, "level"))
    if level:
        parts.append(_path([(x_low, level[0]), (x_high, level[0])], x, y, "level"))
        parts.append(_text(x(x_high), y(level[0]) + 14, level[1], "end"))
    parts += [_drawn(line, x, y) for line in drawn]
    picture = tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=f"{title}: {_in_words(drawn)}")
    legend = [tag("span", line.name, class_=f"key {line.kind}") for line in drawn] if len(drawn) > 1 else []
    return tag("div", tag("h3", title), tag("p", *legend, class_="legend") if legend else "", picture, class_="chart")


def _range(low: float, high: float) -> tuple[float, float]:
    """The same, or something around a single value."""
    return (low, high) if high - low > 1e-12 else (low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5))


def _in_words(drawn: Sequence[Line]) -> str:
    return "; ".join(f"{line.name} from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in drawn)


def _grid(x: Scale, y: Scale, y_ticks: Sequence[float], x_name: str) -> Markup:
    parts = []
    for value in y_ticks:
        parts.append(_path([(x.low, value), (x.high, value)], x, y, "grid"))
        parts.append(_text(x.start - 8, y(value) + 4, f"{value:.6g}", "end"))
    across = [value for value in ticks(x.low, x.high) if x.low - 1e-9 <= value <= x.high + 1e-9]
    parts += [_text(x(value), y.start + 16, f"{value:.6g}", "middle") for value in across]
    parts.append(_text(x.end, y.start + 30, x_name, "end", "axis"))
    return joined(parts)


def _drawn(line: Line, x: Scale, y: Scale) -> Markup:
    parts = []
    if line.spread:
        there = [(px, high) for (px, _), (_, high) in zip(line.points, line.spread, strict=True)]
        back = [(px, low) for (px, _), (low, _) in zip(line.points, line.spread, strict=True)]
        parts.append(_path([*there, *reversed(back)], x, y, f"spread {line.kind}"))
    parts.append(_path(line.points, x, y, f"line {line.kind}"))
    for (px, py), radius in zip(line.points, line.dots, strict=False):
        said = tag("title", f"{px:.4g}: {py:.4g}")
        parts.append(tag("circle", said, cx=f"{x(px):.1f}", cy=f"{y(py):.1f}", r=f"{radius:.1f}", class_=line.kind))
    return joined(parts)


def _path(points: Sequence[Point], x: Scale, y: Scale, kind: str) -> Markup:
    return tag("path", d="M" + "L".join(f"{x(px):.1f} {y(py):.1f}" for px, py in points), class_=kind)


def _text(x: float, y: float, said: str, anchor: str, kind: str | None = None) -> Markup:
    return tag("text", said, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)
