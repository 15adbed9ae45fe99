"""DINO on one device: from stores of patches to a checkpointed student and teacher."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training import device
from training.dino import checkpoint, curve, method, schedules
from training.dino.config import Config
from training.dino.crops import RECIPES, Chance, multi_crop
from training.dino.network import Network
from training.probe import neighbours
from training.progress import Progress
from training.runs import Run
from training.stores.store import Store

LOG_EVERY = 10  # steps between two records of metrics.jsonl
FINAL_LEARNING_RATE = 1e-6
MUON_TO_ADAMW = 2.0  # Muon's updates have the size of AdamW's (match_rms_adamw); twice that was best on EuroSAT


class Pretraining:
    """A run in memory: what it was begun with, its networks, and the step it has come to."""

    def __init__(
        self, run: Run, config: Config, stores: Sequence[Store], positions: Sequence[NDArray[np.int64]]
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cpu":
            device.tune_for_cpu()
        config.refuse_what_cannot_learn()
        torch.manual_seed(config.seed)
        self.run, self.config = run, config
        self._images = [(store.images, chosen) for store, chosen in zip(stores, positions, strict=True)]
        self._watched = [store for store in stores if neighbours.can_tell(store)]
        bands = len(config.bands)
        self.student = Network(config.spec, bands, config.prototypes, config.drop_path).to(self.device)
        self.teacher = Network(config.spec, bands, config.prototypes, 0.0).to(self.device).requires_grad_(False).eval()
        self.teacher.load_state_dict(self.student.state_dict())
        self.centre = torch.zeros(1, config.prototypes, device=self.device)
        self.optimizers = _optimizers(self.student, config.optimizer)
        self.steps_an_epoch = config.images // config.batch
        self.steps = round(config.epochs * self.steps_an_epoch)
        self.step = 0

    @property
    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"student": self.student, "teacher": self.teacher, **self.optimizers}

    def resume(self) -> None:
        """Goes to the newest checkpoint, if there is one."""
        if newest := checkpoint.latest(self.run.checkpoints):
            self.step, file = newest
            self.centre = checkpoint.restore(file, self._parts).to(self.device)
        self.run.forget_after(self.step)

    def save(self) -> None:
        """Writes a checkpoint and the curve so far."""
        checkpoint.save(self.run.checkpoints, self.step, self._parts, self.centre)
        curve.draw(self.run)

    def train(self, checkpoint_minutes: float) -> None:
        """To the end, from wherever it stands. SIGTERM saves and ends the program with 143."""
        saved_at = logged_at = time.monotonic()
        logged, batch = self.step, self.config.batch
        with (
            sigterm_noted() as stopping,
            Progress("pretrain", self.steps * batch, "images", logged * batch) as progress,
        ):
            while self.step < self.steps:
                if self.step % self.steps_an_epoch == 0:
                    self._watch()
                figures = self._one_step()
                self.step += 1
                if self.step % LOG_EVERY == 0 or self.step == self.steps:
                    now = time.monotonic()
                    record = {name: float(value) for name, value in figures.items()}
                    images = (self.step - logged) * batch
                    epoch = self.step / self.steps_an_epoch
                    self.run.log(
                        {
                            "step": self.step,
                            "epoch": epoch,
                            **record,
                            "images_per_s": round(images / (now - logged_at), 1),
                        }
                    )
                    logged, logged_at = self.step, now
                    progress.advance(images, epoch=epoch, loss=record["loss"])
                if stopping.is_set() or time.monotonic() - saved_at > checkpoint_minutes * 60:
                    self.save()
                    saved_at = time.monotonic()
                if stopping.is_set():
                    sys.exit(143)
        self._watch()
        self.save()

    def _one_step(self) -> dict[str, Tensor | float]:
        config, now = self.config, self._schedule()
        seed = seed_of_step(config.seed, self.step)
        chance = Chance(seed, self.device)
        torch.manual_seed(seed)  # drop path draws from the default generator
        big, small = multi_crop(self._batch(), config.bands, config.views, RECIPES[config.recipe], chance)
        big, small = self._normalised(big), self._normalised(small)
        with self._autocast():
            with torch.no_grad():
                teacher = self.teacher(big).float()
            student = self.student(*((big, small) if len(small) else (big,))).float()
        if config.targets == "balanced":
            targets = method.balanced(teacher, config.teacher_temperature)
        else:
            targets = method.centred(teacher, config.teacher_temperature, self.centre)
        loss = method.cross_view_loss(student, targets, 2 + config.local_crops)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        parameters = list(self.student.parameters())
        method.clip_each(parameters)
        if self.step < config.freeze_epochs * self.steps_an_epoch:
            self.student.head.prototypes.grad = None
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = now["learning_rate"] * (MUON_TO_ADAMW if name == "muon" else 1)
                group["weight_decay"] = now["weight_decay"] if group["decays"] else 0.0
            optimizer.step()
        method.follow(list(self.teacher.parameters()), parameters, now["momentum"])
        self.centre.lerp_(teacher.mean(0, keepdim=True), 1 - method.CENTRE_MOMENTUM)
        return {"loss": loss.detach(), "entropy": method.entropy(targets), **now}

    def _schedule(self) -> dict[str, float]:
        config, step, steps = self.config, self.step, self.steps
        peak = config.learning_rate * config.batch / 256
        warm_up = round(config.warm_up_epochs * self.steps_an_epoch)
        return {
            "learning_rate": schedules.warm_up_then_cosine(step, steps, warm_up, peak, FINAL_LEARNING_RATE),
            "weight_decay": schedules.cosine(step, steps, *config.weight_decay),
            "momentum": schedules.cosine(step, steps, config.momentum, 1.0),
        }

    def _batch(self) -> Tensor:
        """The images of this step: a new order each epoch, that depends on seed and epoch alone."""
        epoch, within = divmod(self.step, self.steps_an_epoch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(self.config.images)
        wanted = np.sort(order[within * self.config.batch : (within + 1) * self.config.batch])
        found, first = [], 0
        for images, positions in self._images:
            here = wanted[(wanted >= first) & (wanted < first + len(positions))] - first
            found.append(images[positions[here]])
            first += len(positions)
        return torch.from_numpy(np.concatenate(found)).to(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16")

    def _normalised(self, crops: Tensor) -> Tensor:
        mean, std = (crops.new_tensor(figures).view(1, -1, 1, 1) for figures in self.config.mean_and_std)
        return (crops - mean) / std

    def _embed(self, images: Tensor) -> Tensor:
        with self._autocast():
            embeddings: Tensor = self.teacher.backbone(images.to(self.device)).float()
        return embeddings

    def _watch(self) -> None:
        """Nearest-neighbour accuracy of the teacher, where a store has one label an image."""
        figures = self.config.mean_and_std
        for store in self._watched:
            accuracy = neighbours.quick_accuracy(self._embed, store, self.config.image_size, *figures)
            epoch = self.step / self.steps_an_epoch
            self.run.log({"step": self.step, "epoch": epoch, "store": store.card.name, "knn_accuracy": accuracy})


@contextmanager
def sigterm_noted() -> Iterator[threading.Event]:
    """Within, SIGTERM sets the event and ends nothing."""
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def seed_of_step(seed: int, step: int) -> int:
    """Seed of all draws of a step: 32 bits, as torch keeps no more of them on a CPU."""
    return int(np.random.SeedSequence([seed, step]).generate_state(1)[0])


def _optimizers(student: Network, kind: str) -> dict[str, torch.optim.Optimizer]:
    """AdamW for all, or Muon for the matrices of the backbone's blocks and AdamW for the rest.

    Biases, norms and everything else with one dimension do not decay.
    """
    named = list(student.named_parameters())
    hidden = [p for name, p in named if kind == "muon" and p.ndim == 2 and name.startswith("backbone.blocks.")]
    of_muon = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in of_muon]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "decays": True},
        {"params": [p for p in rest if p.ndim <= 1], "decays": False},
    ]
    optimizers: dict[str, torch.optim.Optimizer] = {"adamw": torch.optim.AdamW(groups, lr=0.0)}
    if hidden:
        muon = torch.optim.Muon([{"params": hidden, "decays": True}], lr=0.0, adjust_lr_fn="match_rms_adamw")
        optimizers["muon"] = muon
    return optimizers
