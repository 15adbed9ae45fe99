"""The same backbone trained from scratch with labels: what they alone are worth at the run's size and budget."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.imagery.bands import share_of_haze
from service.model import backbone
from training import device
from training.dino import checkpoint, schedules
from training.dino.chance import Chance
from training.dino.config import Config
from training.dino.crops import constant, crop
from training.dino.pretrain import seed_of_step
from training.dino.recipes import RECIPES
from training.probe import linear, supervision
from training.progress import Progress
from training.runs import Run
from training.stores.store import Store

# For a batch of 256, scaled with the root of the batch as Adam wants it. Best of three on EuroSAT tiles, ViT-Tiny/8 at
# 64 px, batch 32, half an epoch: validation accuracy 0.567 with 6e-5 there, 0.656 with 2.5e-4, 0.596 with 1e-3.
LEARNING_RATE = 0.0007
WEIGHT_DECAY = 0.05
LARGEST_GRADIENT_NORM = 3.0  # of all tensors together
CHECKPOINT_MINUTES = 10.0
LOG_EVERY = 10  # steps


def trained(run: Run, config: Config, stores: Sequence[Store]) -> Mapping[str, Tensor]:
    """Weights of the backbone, trained with the labels of the train split of the first store that has any.

    They are kept in the run's folder `supervised`; killed and called again, training goes on where it was.
    Raises ValueError if no store has labels and a train split.
    """
    labelled = [store for store in stores if store.card.labels and len(store.of_split("train"))]
    if not labelled:
        raise ValueError("the row supervised needs a store with labels and the split train")
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with device.tuned_for_training(here):
        training = Training(run.path / "supervised" / labelled[0].card.name, config, labelled[0], here)
        training.to_the_end()
    return {name: tensor.detach().cpu() for name, tensor in training.backbone.state_dict().items()}


class Training:
    """Backbone and linear classifier in memory, and the step they have come to.

    AdamW and a cosine, one crop of the run's global size an image, augmented as the run's second global crop
    (its first is always blurred), as many images seen as in the run's pretraining.
    """

    def __init__(self, folder: Path, config: Config, store: Store, here: torch.device) -> None:
        self.config, self._folder, self._images, self.device = config, folder, store.images, here
        self._positions, self._loss = store.of_split("train"), _loss(store)
        torch.manual_seed(config.seed)
        more = {"drop_path_rate": config.drop_path, "dynamic_img_size": True}
        self.backbone = backbone.build(config.spec, len(config.bands), **more).to(self.device)
        self.classifier = nn.Linear(config.spec.dim, len(store.card.labels), device=self.device)
        parameters = [*self.backbone.parameters(), *self.classifier.parameters()]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0)
        self.batch = min(config.batch, len(self._positions))
        self.steps = round(config.epochs * config.images / self.batch)
        self.step = 0
        Run(folder).begin_or_continue({**config.record(), "store": store.card.name, "created": store.created})
        if newest := checkpoint.latest(folder):
            self.step = checkpoint.restore(newest[1].read_bytes(), self._parts)

    @property
    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"backbone": self.backbone, "classifier": self.classifier, "adamw": self.optimizer}

    def to_the_end(self) -> None:
        """From wherever it stands."""
        if self.step >= self.steps:
            return
        saved_at, logged = time.monotonic(), self.step
        with Progress("supervised", self.steps * self.batch, "images", self.step * self.batch) as progress:
            while self.step < self.steps:
                loss = self.one_step()
                if self.step % LOG_EVERY == 0 or self.step == self.steps:
                    progress.advance((self.step - logged) * self.batch, loss=float(loss))
                    logged = self.step
                if self.step == self.steps or time.monotonic() - saved_at > CHECKPOINT_MINUTES * 60:
                    checkpoint.save(self._folder, self.step, self._parts)
                    saved_at = time.monotonic()

    def one_step(self) -> Tensor:
        """Learns from the next batch and gives its loss."""
        crops, paths = (seed_of_step(self.config.seed, self.step, purpose) for purpose in ("crops", "paths"))
        wanted = self._batch()
        torch.manual_seed(paths)  # timm's drop path draws from the default generator
        seen = self._augmented(wanted, Chance(crops, self.device))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16"):
            logits = self.classifier(self.backbone(seen)).float()
        loss = self._loss(logits, wanted)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([*self.backbone.parameters(), *self.classifier.parameters()], LARGEST_GRADIENT_NORM)
        peak = LEARNING_RATE * math.sqrt(self.batch / 256)
        warm_up = self.config.warm_up_epochs / self.config.epochs * self.steps
        for group in self.optimizer.param_groups:
            group["lr"] = schedules.warm_up_then_cosine(self.step, self.steps, round(warm_up), peak, 0.0)
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def _augmented(self, wanted: NDArray[np.int64], chance: Chance) -> Tensor:
        config, recipe = self.config, RECIPES[self.config.recipe]
        pixels = torch.from_numpy(self._images[wanted]).to(self.device).permute(0, 3, 1, 2).float() / 255
        air = constant(tuple(share_of_haze(config.bands)), self.device)
        x = crop(pixels, air, config.global_px, config.global_scale, recipe, recipe.blur[1], recipe.solarize, chance)
        mean, std = (constant(figures, self.device).view(1, -1, 1, 1) for figures in config.mean_and_std)
        return (x - mean) / std

    def _batch(self) -> NDArray[np.int64]:
        """Positions of the images of this step: a new order each epoch, that depends on seed and epoch alone."""
        epoch, within = divmod(self.step, len(self._positions) // self.batch)
        order = np.random.default_rng([self.config.seed, epoch]).permutation(self._positions)
        wanted: NDArray[np.int64] = np.sort(order[within * self.batch : (within + 1) * self.batch])
        return wanted


def _loss(store: Store) -> linear.Loss:
    """Cross-entropy where each image has one label, else that of the probe."""
    if supervision.one_label_each(store.rows):
        return linear.single_label_loss(np.asarray([store.card.labels.index(row.labels[0]) for row in store.rows]))
    return linear.multi_label_loss(supervision.read(store.card, store.rows, store.of_split("train")))
