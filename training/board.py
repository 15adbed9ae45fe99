"""Records of pretraining for TensorBoard, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

PLACE = ("step", "epoch", "store")  # where a record stands; all else in it is drawn


class Board:
    """Events in a folder, from `from_step` on; does nothing where TensorBoard is not installed, or if not `kept`.

    Events of later steps that are there already are of a run that was killed: TensorBoard then drops them.
    """

    def __init__(self, folder: Path, from_step: int, kept: bool = True) -> None:
        self._writer = None
        if not kept:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        # Runs forget what comes after their checkpoint and keep what was logged at its step; at 0 there is none.
        self._writer = SummaryWriter(folder, purge_step=from_step + 1 if from_step else 0)

    def add(self, record: dict[str, Any]) -> None:
        """A record of metrics.jsonl; the name of its store, if it has one, is part of its figures' names."""
        if self._writer is None:
            return
        for name, value in record.items():
            if name not in PLACE:
                title = f"{name}/{record['store']}" if "store" in record else name
                self._writer.add_scalar(title, value, record["step"])
        self._writer.flush()  # kill -9 must lose nothing that the run's own records keep

    def close(self) -> None:
        """After the last record."""
        if self._writer is not None:
            self._writer.close()
