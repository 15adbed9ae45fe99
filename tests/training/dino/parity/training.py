"""Twenty steps of training in float64, through the product's own step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.training.dino.parity import filling
from training.dino import method, pretrain, schedules
from training.dino.config import Config
from training.dino.network import Network
from training.dino.presets import PRESETS

NUMBERS = json.loads((Path(__file__).parent / "numbers.json").read_text())
EPOCHS, STEPS_AN_EPOCH, BATCH, PROTOTYPES = 4, 5, 4, 64
BIG, SMALL, LOCAL_CROPS = 48, 24, 3

CONFIG = Config(
    stores=("none",), images=STEPS_AN_EPOCH * BATCH, bands=("B04", "B03", "B02"), seed=0, dtype="float32",
    **PRESETS["reference"]
    | {
        "backbone": "test_vit", "patch_size": 8, "image_size": BIG, "global_px": BIG, "local_px": SMALL,
        "local_crops": LOCAL_CROPS, "prototypes": PROTOTYPES, "learning_rate": 0.008, "momentum": 0.9,
        "batch": BATCH, "epochs": EPOCHS, "warm_up_epochs": 1, "freeze_epochs": 1, "drop_path": 0.0,
    },
)  # fmt: skip


class Learner:  # TODO-lead: training.dino.learner's
    def __init__(self, config: Config, device: torch.device, steps_an_epoch: int) -> None:
        self.config, self.steps_an_epoch = config, steps_an_epoch
        self.steps = round(config.epochs * steps_an_epoch)
        self.student = Network(config.spec, len(config.bands), config.prototypes, config.drop_path).to(device)
        self.teacher = Network(config.spec, len(config.bands), config.prototypes, 0.0).requires_grad_(False)
        self.centre = torch.zeros(1, config.prototypes)
        self.optimizers = pretrain._optimizers(self.student, config.optimizer)

    def learn(self, step: int, big: Tensor, small: Tensor) -> dict[str, Tensor | float]:
        config = self.config
        with torch.no_grad():
            teacher = self.teacher(big)
        student = self.student(big, small)
        targets = method.centred(teacher, config.teacher_temperature, self.centre)
        loss = method.cross_view_loss(student, targets, 2 + config.local_crops)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        parameters = list(self.student.parameters())
        method.clip_each(parameters)
        if step < config.freeze_epochs * self.steps_an_epoch:
            self.student.head.prototypes.grad = None
        peak, warm_up = config.learning_rate * config.batch / 256, round(config.warm_up_epochs * self.steps_an_epoch)
        now = {
            "learning_rate": schedules.warm_up_then_cosine(step, self.steps, warm_up, peak, 1e-6),
            "weight_decay": schedules.cosine(step, self.steps, *config.weight_decay),
            "momentum": schedules.cosine(step, self.steps, config.momentum, 1.0),
        }
        for group in self.optimizers["adamw"].param_groups:
            group["lr"], group["weight_decay"] = now["learning_rate"], now["weight_decay"] * group["decays"]
        self.optimizers["adamw"].step()
        method.follow(self.teacher.parameters(), parameters, now["momentum"])
        self.centre.lerp_(teacher.mean(0, keepdim=True), 1 - method.CENTRE_MOMENTUM)
        return {"loss": loss.detach(), "entropy": method.entropy(targets), **now}


def learner() -> Learner:
    """In float64, with the parameters of filling.py."""
    made = Learner(CONFIG, torch.device("cpu"), STEPS_AN_EPOCH)
    filling.fill(made.student.double())
    made.teacher.double().load_state_dict(made.student.state_dict())
    made.centre = made.centre.double()
    return made


def steps(made: Learner) -> Iterator[dict[str, Any]]:
    """What each step reports."""
    for step in range(EPOCHS * STEPS_AN_EPOCH):
        big = filling.crops(step, "global", 2 * BATCH, BIG)
        small = filling.crops(step, "local", LOCAL_CROPS * BATCH, SMALL)
        yield made.learn(step, big, small)
