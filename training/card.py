"""The model card: what an artifact says of itself to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.model.manifest import Group, Int8Engine, Label, Manifest
from training.probe.evaluate import FIGURES, with_interval


def model_card(manifest: Manifest, intervals: Mapping[str, Sequence[float] | None]) -> str:
    """The model card: what it is, learnt from, can and cannot tell. `intervals` are of average precision, by name."""
    direct = [label for label in manifest.labels if label.is_answered]
    grouped = [label.name for label in manifest.labels if label.supervision == ("group",)]
    untold = [label.name for label in manifest.labels if not label.supervision]
    lines = [f"# {manifest.name} {manifest.version}", "", manifest.description, "", "## Learnt from", ""]
    training = manifest.training
    first = f", from the weights of {training.init}" if training.init else ""
    lines.append(
        f"DINO on {manifest.backbone.timm} with tokens of {manifest.backbone.patch_size} px at "
        f"{manifest.backbone.image_size} px; {training.images:,} images ({', '.join(training.stores)}), "
        f"{training.epochs:.1f} epochs, seed {training.seed}{first}. {manifest.attribution.rstrip('.')}."
    )
    lines += ["", "## Tells", "", "| label | supervision | average precision | threshold |", "|---|---|---|---|"]
    lines += [_told(label, label.name, "direct", intervals) for label in direct]
    lines += [
        _told(group, f"{group.name} ({', '.join(group.members)})", "group", intervals) for group in manifest.groups
    ]
    if grouped:
        lines += ["", f"Only within a group, null on their own: {', '.join(grouped)}."]
    if untold:
        lines += ["", f"Never seen, null in answers: {', '.join(untold)}."]
    never = [label.name for label in direct if label.threshold is None]
    if never := never + [group.name for group in manifest.groups if group.threshold is None]:
        lines += ["", f"Answered with a probability but never listed, for lack of a threshold: {', '.join(never)}."]
    lines += ["", "## Measured", "", "In brackets 95 % bootstrap intervals over the images of the split.", ""]
    lines += [*map(_figures, manifest.metrics), *(f"- int8: {closeness(entry)}" for entry in manifest.engines)]
    return "\n".join(lines) + "\n"


def _told(part: Label | Group, name: str, supervision: str, intervals: Mapping[str, Sequence[float] | None]) -> str:
    precision = (
        "" if part.average_precision is None else with_interval(part.average_precision, intervals.get(part.name))
    )
    threshold = "" if part.threshold is None else f"{part.threshold:.3f}"
    return f"| {name} | {supervision} | {precision} | {threshold} |"


def _figures(entry: Mapping[str, Any]) -> str:
    """A line for an entry of the evaluation."""
    figures = [
        f"{title} {with_interval(entry[key], entry.get(f'{key}_interval'))}"
        for key, title in FIGURES.items()
        if key in entry
    ]
    if errors := entry.get("calibration"):
        figures.append(
            f"expected calibration error {errors['ece_before']:.3f} before calibration, {errors['ece_after']:.3f} after"
        )
    return f"- {entry['store']}, {entry['split']} split, {entry['n']} images: {', '.join(figures)}"


def closeness(entry: Int8Engine) -> str:
    """How far int8 is from float32, as a sentence without its end."""
    return (
        f"on {entry.n} images of {entry.store}, cosine with float32 {entry.cosine_mean:.5f} on average and "
        f"{entry.cosine_min:.5f} at least, probabilities up to {entry.probability_difference:.3f} apart, macro average "
        f"precision {entry.average_precision_difference:+.4f}"
    )
