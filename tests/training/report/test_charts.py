from __future__ import annotations

import pytest

from training.report import charts
from training.report.charts import Line


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (3.1, 8.2, [2, 4, 6, 8, 10]),
        (0.99, 0.992, [0.99, 0.9905, 0.991, 0.9915, 0.992]),
    ],
)
def test_ticks_are_round_and_hold_everything(low: float, high: float, expected: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_a_long_line_becomes_means_within_their_range() -> None:
    points = [(float(i), float(i % 2)) for i in range(100_000)]
    line = charts.thinned("loss", points)
    assert len(line.points) <= charts.POINTS
    assert all(y == pytest.approx(0.5, abs=0.01) for _, y in line.points)
    assert set(line.spread) == {(0.0, 1.0)}
    assert line.points[0][0] < line.points[-1][0] < 100_000


def test_a_short_line_is_drawn_as_it_is() -> None:
    assert charts.thinned("loss", [(0.0, 3.0), (1.0, 2.0)]) == Line("loss", [(0.0, 3.0), (1.0, 2.0)])


def test_a_single_value_is_a_chart_too() -> None:
    chart = charts.lines("Momentum", [Line("momentum", [(0.0, 1.0)])], "epoch")
    assert 'aria-label="Momentum: momentum from 1 to 1"' in chart
