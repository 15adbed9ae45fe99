"""DINO on one device or many: from stores of patches to a checkpointed student and teacher."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import device
from training.board import Board
from training.dino import checkpoint, curve, feed, weights
from training.dino.config import Config
from training.dino.crops import RECIPES, Chance, constant, multi_crop
from training.dino.health import Health
from training.dino.learner import Learner
from training.distributed import Workers
from training.probe import neighbours
from training.progress import Progress
from training.runs import Run
from training.stopping import EXIT_CODE, StopNotice
from training.stores.store import Store

LOG_EVERY = 10  # steps between two records of metrics.jsonl


class Pretraining:
    """A run in memory: what it was begun with, its learner, and the step it has come to."""

    def __init__(
        self,
        run: Run,
        config: Config,
        stores: Sequence[Store],
        positions: Sequence[NDArray[np.int64]],
        workers: Workers,
        compiled: bool = False,
    ) -> None:
        device.tune(workers.device)
        config.refuse_what_cannot_learn()
        if config.batch < workers.place.world:
            raise ValueError(f"a batch of {config.batch} is too small for {workers.place.world} processes")
        self.run, self.config, self.workers = run, config, workers
        self.steps_an_epoch = config.images // config.batch
        self.learner = Learner(config, workers.device, self.steps_an_epoch, workers, compiled)
        self.step, self.steps = 0, self.learner.steps
        self._share = workers.share(config.batch)
        self._stores = [(store.images, chosen) for store, chosen in zip(stores, positions, strict=True)]
        self._watched = [store for store in stores if neighbours.can_tell(store)]

    def begin(self) -> None:
        """Makes sure that a new run can be kept, or goes to the newest checkpoint of one begun before.

        Raises OSError, in all processes, if the folder cannot be written or has no room for the checkpoints;
        ValueError if the run was begun with another configuration, or from weights that are not this backbone's.
        """

        def newest() -> bytes:
            self.run.begin_or_continue(self.config.record())
            checkpoint.require_room(self.run.checkpoints, self.learner.parts)
            found = checkpoint.latest(self.run.checkpoints)
            self.run.forget_after(found[0] if found else 0)
            return found[1].read_bytes() if found else b""

        if saved := self.workers.from_first(newest):
            self.step = checkpoint.restore(saved, self.learner.parts)
        elif self.config.init:
            first = weights.fitting(weights.read(self.config.init), self.config.spec, len(self.config.bands))
            for network in (self.learner.student, self.learner.teacher):
                network.backbone.load_state_dict(first)
        self._board = Board(self.run.path / "tensorboard", self.step, kept=self.workers.is_first)

    def save(self) -> None:
        """Writes a checkpoint and the curve so far; the first process alone does, as all hold the same."""
        if self.workers.is_first:
            checkpoint.save(self.run.checkpoints, self.step, self.learner.parts)
            curve.draw(self.run)

    def train(self, checkpoint_minutes: float, knn_every: int) -> None:
        """To the end, from wherever it stands. SIGTERM to any process saves and ends all with 143.

        Raises Diverged, in all processes, when there is nothing to be hoped for any more.
        """
        config, workers = self.config, self.workers
        health, warm_up = Health(config.prototypes), config.warm_up_epochs * self.steps_an_epoch
        saved_at, logged, logged_at = time.monotonic(), self.step, time.monotonic()
        images = feed.Feed(self._stores, workers.device).batches(
            feed.order(config, range(self.step, self.steps), self._share)
        )
        with (
            closing(self._board),
            StopNotice(workers) as stop,
            Progress(
                "pretrain", self.steps * config.batch, "images", logged * config.batch, shown=workers.is_first
            ) as progress,
        ):
            for own in images:
                if self.step % (knn_every * self.steps_an_epoch) == 0:
                    self._watch()
                chance = Chance(seed_of_step(config.seed, self.step), workers.device, config.batch, self._share)
                figures = self.learner.learn(self.step, *self._crops(own, chance), chance)
                self.step += 1
                if self.step % LOG_EVERY == 0 or self.step == self.steps:
                    now, done = time.monotonic(), (self.step - logged) * config.batch
                    record = {"step": self.step, "epoch": self.step / self.steps_an_epoch, **self._mean(figures)}
                    health.check(record, self.step < warm_up)
                    self._log({**record, "images_per_s": round(done / (now - logged_at), 1)})
                    logged, logged_at = self.step, now
                    progress.advance(done, epoch=record["epoch"], loss=record["loss"])
                stopping = stop.has_come(self.step)
                if stopping or time.monotonic() - saved_at > checkpoint_minutes * 60:
                    self.save()
                    saved_at = time.monotonic()
                if stopping:
                    sys.exit(EXIT_CODE)
        self._watch()
        self.save()

    def _crops(self, images: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
        """Normalised crops of this process's images."""
        config, dtype = self.config, self.learner.centre.dtype
        mean, std = (constant(figures, images.device).view(1, -1, 1, 1) for figures in config.mean_and_std)
        big, small = multi_crop(images, config.bands, config.views, RECIPES[config.recipe], chance)
        return ((big - mean) / std).to(dtype), ((small - mean) / std).to(dtype)

    def _mean(self, figures: Mapping[str, Tensor | float]) -> dict[str, float]:
        """Figures as numbers, those of the device as their mean over all processes. Waits for the device."""
        measured = {name: value for name, value in figures.items() if isinstance(value, Tensor)}
        values = self.workers.sum(torch.stack([value.double() for value in measured.values()]))
        found = dict(zip(measured, (values / self.workers.place.world).tolist(), strict=True))
        return {name: found.get(name, value) for name, value in figures.items()}

    def _log(self, record: Mapping[str, float | str]) -> None:
        if self.workers.is_first:
            self.run.log(dict(record))
            self._board.add(dict(record))

    def _watch(self) -> None:
        """Nearest-neighbour accuracy of the teacher, where a store has one label an image."""
        if not self.workers.is_first:
            return
        figures = self.config.mean_and_std
        for store in self._watched:
            accuracy = neighbours.quick_accuracy(self.learner.embed, store, self.config.image_size, *figures)
            epoch = self.step / self.steps_an_epoch
            self._log({"step": self.step, "epoch": epoch, "store": store.card.name, "knn_accuracy": accuracy})


def seed_of_step(seed: int, step: int) -> int:
    """Seed of all draws of a step: 32 bits, as torch keeps no more of them on a CPU."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])
