"""What the run is worth on the test splits, beside other representations."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from training.probe.evaluate import FIGURES
from training.report.charts import Line, lines
from training.report.markup import Markup, absent, figure, section, tag

Entries = Sequence[dict[str, Any]]
DOT = 7.0  # radius of the fullest bin of a reliability curve


def chapter(name: str, entries: Entries, keys: Collection[str]) -> Markup:
    """The table, then for each store the labels and the calibration.

    `name` is that of the run's own row, `keys` are those of its newest weights.
    """
    title = "What it is worth"
    if not entries:
        return section(title, absent("Nothing has been evaluated yet: training/run.py evaluate measures it."))
    content = [_table(name, entries)]
    if any(entry["representation"] == name and entry["key"] not in keys for entry in entries):
        content.append(absent(f"The figures of {name} are of other weights than its newest: evaluate it again."))
    for store in _stores(entries):
        content += [*_labels(name, store, _of(store, entries)), *_reliability(name, store, _of(store, entries))]
    return section(title, *content)


def headline(name: str, entries: Entries) -> list[tuple[str, str, str]]:
    """The run's own figures: value, what it is, its interval (or nothing)."""
    return [
        (f"{entry[key]:.3f}", f"{said}, {entry['store']}", interval(entry, key))
        for entry in entries
        if entry["representation"] == name
        for key, said in FIGURES.items()
        if key in entry
    ]


def interval(entry: dict[str, Any], key: str) -> str:
    """Of a figure, in words; empty where none was computed."""
    return f"{entry[f'{key}_interval'][0]:.3f}–{entry[f'{key}_interval'][1]:.3f}" if f"{key}_interval" in entry else ""


def _stores(entries: Entries) -> list[str]:
    return list(dict.fromkeys(entry["store"] for entry in entries))


def _of(store: str, entries: Entries) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["store"] == store]


def _table(name: str, entries: Entries) -> Markup:
    shown = [
        (store, key) for store in _stores(entries) for key in FIGURES if any(key in e for e in _of(store, entries))
    ]
    head = tag("tr", tag("th", "Representation", scope="col"), *(_column(*column) for column in shown))
    rows = []
    for key, said in {(entry["key"], entry["representation"]): entry["representation"] for entry in entries}.items():
        cells = [
            _cell([e for e in _of(store, entries) if (e["key"], e["representation"]) == key], figure)
            for store, figure in shown
        ]
        rows.append(tag("tr", tag("th", said, scope="row"), *cells, class_="ours" if said == name else None))
    sizes = ", ".join(f"{_of(store, entries)[0]['n']:,} of {store}" for store in _stores(entries))
    caption = (
        f"Every representation judged alike: heads learn from the train split, the figures are of the test split "
        f"({sizes}). Accuracy is the share of images classed right, by a linear head or by the vote of neighbours; AP "
        "is average precision, macro the mean over labels, micro over all answers together. "
    )
    known = any(f"{key}_interval" in entry for entry in entries for key in FIGURES)
    caption += "Small print: 95 % intervals of the bootstrap." if known else "Intervals have not been computed."
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="results")
    return figure(tag("div", table, class_="scroll"), caption=caption)


def _column(store: str, key: str) -> Markup:
    return tag("th", FIGURES[key], tag("small", store), scope="col")


def _cell(found: Entries, key: str) -> Markup:
    if not found or key not in found[0]:
        return tag("td", "–")
    return tag("td", f"{found[0][key]:.3f}", tag("small", interval(found[0], key)))


def _labels(name: str, store: str, entries: Entries) -> list[Markup]:
    told = sorted((e for e in entries if "per_label" in e), key=lambda entry: entry["representation"] != name)
    if not told:
        return []
    first = told[0]
    order = sorted(first["per_label"], key=lambda label: -(first["per_label"][label] or 0))
    rows = [_label(label, told) for label in order]
    keys = [tag("span", e["representation"], class_=f"key bar-{i}") for i, e in enumerate(told)]
    caption = f"Average precision of each label on the test split of {store}, the best first."
    if any(first.get("per_label_interval", {}).values()):
        caption += " Whiskers are 95 % intervals of the bootstrap."
    if "positives" in first:
        caption += " The notch is what a random order would get: the share of images with the label."
    scale = tag("div", *(tag("span", text) for text in ("0", "0.25", "0.5", "0.75", "1")), class_="scale")
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Label", scale, first["representation"])))
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="bars")
    return [figure(tag("p", *keys, class_="legend"), table, caption=caption)]


def _label(label: str, told: Entries) -> Markup:
    first = told[0]
    value, positives = first["per_label"][label], first.get("positives", {}).get(label)
    said = [label] if positives is None else [label, tag("small", f"{positives:,} of {first['n']:,}")]
    bars = [_bar(i, entry, label) for i, entry in enumerate(told) if entry["per_label"].get(label) is not None]
    if positives is not None:
        bars.append(tag("i", class_="notch", style=f"left:{_percent(positives / first['n'])}"))
    figures = tag("td", f"{value:.3f}") if value is not None else tag("td", "none in test")
    return tag("tr", tag("th", *said, scope="row"), tag("td", tag("div", *bars, class_="track")), figures)


def _bar(number: int, entry: dict[str, Any], label: str) -> Markup:
    value, around = entry["per_label"][label], entry.get("per_label_interval", {}).get(label)
    said = f"{entry['representation']}: {value:.3f}"
    parts = [tag("b", style=f"width:{_percent(value)}")]
    if around:
        said += f" ({around[0]:.3f}–{around[1]:.3f})"
        style = f"left:{_percent(around[0])};width:{_percent(around[1] - around[0])}"
        parts.append(tag("i", class_="whisker", style=style))
    return tag("div", *parts, class_=f"bar bar-{number}", title=said)


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def _reliability(name: str, store: str, entries: Entries) -> list[Markup]:
    own = [entry for entry in entries if entry["representation"] == name and "per_label" in entry]
    if not own:
        return []
    measured = own[0].get("calibration")
    if not measured:
        return [absent(f"Whether the probabilities on {store} mean what they say has not been measured.")]
    charts = []
    for when, kind in (("before", "second"), ("after", "first")):
        bins = measured[when]
        fullest = max(part["n"] for part in bins)
        points = [(part["probability"], part["frequency"]) for part in bins]
        dots = [max(2.0, DOT * math.sqrt(part["n"] / fullest)) for part in bins]
        title = f"{when.capitalize()} calibration: error {measured[f'ece_{when}']:.3f}"
        drawn = Line(f"{when} calibration", points, kind, dots=dots)
        charts.append(lines(title, [drawn], "probability", square=True, height=326))
    caption = (
        f"Reliability on the test split of {store}: of all answers with about some probability, how many are true. "
        "On the dotted diagonal probabilities mean what they say; the area of a dot is the number of answers in its "
        "tenth. The error is the expected calibration error: how far answers are off the diagonal, label by label."
    )
    return [figure(tag("div", *charts, class_="charts"), caption=caption)]
