"""Loss and nearest-neighbour accuracy over epochs, as a picture."""

from __future__ import annotations

from training.files import replacing
from training.runs import Run

SMOOTHED_OVER = 20  # records


def draw(run: Run) -> None:
    """Writes curve.png into the run: loss and teacher entropy on the left axis, kNN accuracy on the right."""
    from matplotlib.figure import Figure  # takes a second to import

    records = run.metrics()
    steps = [record for record in records if "loss" in record]
    watched = [record for record in records if "knn_accuracy" in record]
    if not steps:
        return
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    epochs = [record["epoch"] for record in steps]
    for name, colour in (("loss", "#1f5fa8"), ("entropy", "#9db8d6")):
        values = [record[name] for record in steps]
        left.plot(epochs, _smooth(values), color=colour, label=name if name == "loss" else "teacher entropy")
    left.set(xlabel="epoch", ylabel="nats", title=run.name)
    left.grid(alpha=0.3)
    if watched:
        right = left.twinx()
        right.plot(
            [record["epoch"] for record in watched],
            [record["knn_accuracy"] for record in watched],
            "o-",
            color="#c0392b",
            label=f"kNN accuracy on {watched[0]['store']} (validation)",
        )
        right.set_ylabel("accuracy")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    with replacing(run.curve) as unfinished:
        figure.savefig(unfinished, dpi=120, format="png")


def _smooth(values: list[float]) -> list[float]:
    return [sum(values[max(0, i - SMOOTHED_OVER + 1) : i + 1]) / min(i + 1, SMOOTHED_OVER) for i in range(len(values))]
