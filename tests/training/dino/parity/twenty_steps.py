"""Twenty steps of training in float64, through the product's own step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tests.training.dino.parity import filling
from training.dino.chance import Chance
from training.dino.config import Config
from training.dino.learner import Learner
from training.dino.presets import PRESETS

NUMBERS = json.loads((Path(__file__).parent / "numbers.json").read_text())
EPOCHS, STEPS_AN_EPOCH, BATCH, PROTOTYPES = 4, 5, 4, 64
BIG, SMALL, LOCAL_CROPS = 48, 24, 3

CONFIG = Config(
    stores=("none",), images=STEPS_AN_EPOCH * BATCH, bands=("B04", "B03", "B02"), seed=0, dtype="float64",
    **PRESETS["reference"]
    | {
        "backbone": "test_vit", "patch_size": 8, "image_size": BIG, "global_px": BIG, "local_px": SMALL,
        "local_crops": LOCAL_CROPS, "prototypes": PROTOTYPES, "learning_rate": 0.008, "momentum": 0.9,
        "batch": BATCH, "epochs": EPOCHS, "warm_up_epochs": 1, "freeze_epochs": 1, "drop_path": 0.0,
    },
)  # fmt: skip


def learner() -> Learner:
    """In float64, with the parameters of filling.py."""
    made = Learner(CONFIG, torch.device("cpu"), STEPS_AN_EPOCH)
    filling.fill(made.student)
    made.teacher.load_state_dict(made.student.state_dict())
    return made


def steps(made: Learner) -> Iterator[dict[str, Any]]:
    """What each step reports."""
    for step in range(EPOCHS * STEPS_AN_EPOCH):
        big = filling.crops(step, "global", 2 * BATCH, BIG)
        small = filling.crops(step, "local", LOCAL_CROPS * BATCH, SMALL)
        yield made.learn(step, big, small, Chance(step, big.device))
