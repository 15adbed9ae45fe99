"""An answer as people read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

BAR, EIGHTHS = 24, " ▏▎▍▌▋▊▉█"
TOP = 5


def tell(answer: Mapping[str, Any], top: int = TOP) -> str:
    """The likeliest labels of each tile with bars, where it is, and what there is to be wary of."""
    model = answer["model"]
    lines = [f"{model['name']} {model['version']} ({model['sha256'][:12]})"]
    for name, records in groupby(answer["predictions"], key=lambda record: record["id"]):
        lines += ["", *_tile(name, list(records), top)]
    return "\n".join(lines)


def _tile(name: str, records: Sequence[Mapping[str, Any]], top: int) -> Iterator[str]:
    if error := records[0].get("error"):
        yield f"{name}: {error['code']}: {error['detail']}"
        return
    windows = f", mean of {len(records)} windows" if len(records) > 1 else ""
    yield f"{name}{place(records)}{windows}"
    means = sorted(_means(records).items(), key=lambda one: -one[1])[:top]
    width = max((len(label) for label, _ in means), default=0)
    listed = {label for record in records for label in record.get("labels", ())}
    for label, probability in means:
        yield f"  {label:<{width}} {bar(probability)} {probability:.3f}{' ✓' if label in listed else ''}"
    for warning in {warning["code"]: warning for record in records for warning in record["warnings"]}.values():
        yield f"  ! {warning['code']}: {warning['message']}"


def _means(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of what every record tells."""
    told = [record.get("probabilities", {}) | record.get("groups", {}) for record in records]
    names = [name for name in told[0] if all(isinstance(one.get(name), int | float) for one in told)]
    return {name: sum(one[name] for one in told) / len(told) for name in names}


def bar(share: float) -> str:
    """Of blocks, an eighth of one at the least."""
    eighths = round(share * BAR * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(BAR)


def place(records: Sequence[Mapping[str, Any]]) -> str:
    """The middle of the footprints; empty without georeference."""
    footprints = [record["footprint"] for record in records if record.get("footprint")]
    if not footprints:
        return ""
    # at the antimeridian, where a footprint has two parts, the middle of the first
    rings = [one["coordinates"][0][0] if one["type"] == "MultiPolygon" else one["coordinates"][0] for one in footprints]
    longitudes, latitudes = zip(*(point[:2] for ring in rings for point in ring), strict=True)
    east, north = (min(longitudes) + max(longitudes)) / 2, (min(latitudes) + max(latitudes)) / 2
    return f", {abs(north):.4f}° {'N' if north >= 0 else 'S'} {abs(east):.4f}° {'E' if east >= 0 else 'W'}"
