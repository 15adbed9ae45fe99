"""DINO on one device or many: from stores of patches to a checkpointed student and teacher."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.board import Board
from training.dino import checkpoint, curve, feed, weights
from training.dino.chance import Chance
from training.dino.config import Config
from training.dino.crops import multi_crop
from training.dino.health import Health
from training.dino.learner import Learner
from training.dino.recipes import RECIPES
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
            if found is None or found[0] < self.steps:
                self.run.forget_after(found[0] if found else 0)
            return found[1].read_bytes() if found else b""

        if saved := self.workers.from_first(newest):
            self.step = checkpoint.restore(saved, self.learner.parts)
        elif self.config.init:
            first = safetensors.torch.load(self.workers.from_first(self._first_weights))
            for network in (self.learner.student, self.learner.teacher):
                network.backbone.load_state_dict(first)
        self._board = Board(self.run.path / "tensorboard", self.step, kept=self.workers.is_first)

    def _first_weights(self) -> bytes:
        config = self.config
        return safetensors.torch.save(weights.fitting(weights.read(config.init), config.spec, len(config.bands)))

    def save(self) -> None:
        """Writes a checkpoint and the curve so far; the first process alone does, as all hold the same."""
        self._draw()
        if self.workers.is_first:
            checkpoint.save(self.run.checkpoints, self.step, self.learner.parts)
        self.workers.wait()  # a launcher ends the others' group as soon as one has left it

    def train(self, checkpoint_minutes: float, knn_every: int) -> None:
        """To the end, from wherever it stands. SIGTERM to any process saves and ends all with 143.

        Only what was looked at and found in health is saved. Raises Diverged, in all processes, when there is
        nothing to be hoped for any more.
        """
        with (
            closing(self._board),
            StopNotice(self.workers) as stop,
            Progress(
                "pretrain",
                self.steps * self.config.batch,
                "images",
                self.step * self.config.batch,
                shown=self.workers.is_first and self.step < self.steps,
            ) as progress,
        ):
            self._learn(checkpoint_minutes, knn_every, stop, progress)
            last = [record for record in self.run.metrics() if record["step"] == self.steps]
            if not any("knn_accuracy" in record for record in last):
                self._watch(stop)
                self._draw()

    def _learn(self, checkpoint_minutes: float, knn_every: int, stop: StopNotice, progress: Progress) -> None:
        config, workers = self.config, self.workers
        health, warm_up = Health(config.prototypes), config.warm_up_epochs * self.steps_an_epoch
        saved_at = logged_at = time.monotonic()
        logged = self.step
        images = feed.Feed(self._stores, workers.device).batches(
            feed.order(config, range(self.step, self.steps), self._share)
        )
        for own in images:
            if knn_every and self.step % (knn_every * self.steps_an_epoch) == 0:
                self._watch(stop)
            figures = self.learner.learn(self.step, *self._crops(own, self._chance("crops")), self._chance("paths"))
            self.step += 1
            at_end, stopping = self.step == self.steps, stop.has_come(self.step)
            if self.step % LOG_EVERY and not at_end and not stopping:
                continue
            record = {"step": self.step, "epoch": self.step / self.steps_an_epoch, **self._mean(figures)}
            health.check(record, self.step < warm_up)
            if self.step % LOG_EVERY == 0 or at_end:
                now, done = time.monotonic(), (self.step - logged) * config.batch
                self._log({**record, "images_per_s": round(done / (now - logged_at), 1)})
                logged, logged_at = self.step, now
                progress.advance(done, epoch=record["epoch"], loss=record["loss"])
            if at_end or stopping or self._is_due(saved_at, checkpoint_minutes):
                self.save()
                saved_at = time.monotonic()
            if stopping:
                sys.exit(EXIT_CODE)

    def _draw(self) -> None:
        if self.workers.is_first:
            curve.draw(self.run)

    def _is_due(self, saved_at: float, checkpoint_minutes: float) -> bool:
        """Whether it is time for a checkpoint, by the clock of the first process."""
        return self.workers.any(time.monotonic() - saved_at > checkpoint_minutes * 60)

    def _chance(self, purpose: str) -> Chance:
        seed = seed_of_step(self.config.seed, self.step, purpose)
        return Chance(seed, self.workers.device, self.config.batch, self._share)

    def _crops(self, images: Tensor, chance: Chance) -> tuple[Tensor, Tensor]:
        """Normalised crops of this process's images, in the learner's arithmetic."""
        config, learner = self.config, self.learner
        with learner.autocast():
            big, small = multi_crop(
                images, config.bands, config.views, RECIPES[config.recipe], chance, *config.mean_and_std
            )
        return big.to(learner.centre.dtype), small.to(learner.centre.dtype)

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

    def _watch(self, stop: StopNotice) -> None:
        """Nearest-neighbour accuracy of the teacher, where a store has one label an image; left off for SIGTERM."""
        if not self.workers.is_first:
            return
        figures = self.config.mean_and_std
        for store in self._watched:
            accuracy = neighbours.quick_accuracy(
                self.learner.embed, store, self.config.image_size, *figures, left_off=stop.came_here
            )
            if accuracy is not None:
                epoch = self.step / self.steps_an_epoch
                self._log({"step": self.step, "epoch": epoch, "store": store.card.name, "knn_accuracy": accuracy})


def seed_of_step(seed: int, step: int, purpose: str = "") -> int:
    """Seed of the draws of a step for one purpose: 32 bits, as torch keeps no more of them on a CPU."""
    return int(np.random.SeedSequence([seed, step, *purpose.encode()]).generate_state(1)[0])
