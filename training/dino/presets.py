"""What a run of pretraining may be told, and what it does unless told otherwise."""

from __future__ import annotations

from typing import Any

PAIR = "two numbers with a comma between"

#: name → (type or choices, what it is)
OPTIONS: dict[str, tuple[Any, str]] = {
    "backbone": (str, "timm's name of a VisionTransformer"),
    "patch_size": (int, "pixels of a token"),
    "image_size": (int, "that the model is served at"),
    "global_px": (int, "side of a global crop"),
    "local_px": (int, "side of a local crop"),
    "local_crops": (int, "for each image"),
    "global_scale": (PAIR, "share of the area, from,to"),
    "local_scale": (PAIR, "share of the area, from,to"),
    "recipe": (("overhead", "reference"), "of augmentation"),
    "prototypes": (int, "outputs of the head"),
    "targets": (("centred", "balanced"), "of the teacher"),
    "teacher_temperature": (float, "lower is sharper"),
    "optimizer": (("adamw", "muon"), "of the student"),
    "learning_rate": (float, "for a batch of 256, scaled to the batch"),
    "weight_decay": (PAIR, "first,last"),
    "momentum": (float, "of the teacher, first"),
    "batch": (int, "images a step"),
    "epochs": (float, "passes over the images"),
    "warm_up_epochs": (float, "of the learning rate"),
    "freeze_epochs": (float, "without gradient for the prototypes"),
    "drop_path": (float, "of the student"),
}

#: The reference (facebookresearch/dino), or what two CPU cores learn most from.
PRESETS: dict[str, dict[str, Any]] = {
    "reference": {
        "backbone": "vit_small_patch16_224", "patch_size": 16, "image_size": 224,
        "global_px": 224, "local_px": 96, "local_crops": 8, "global_scale": (0.4, 1.0), "local_scale": (0.05, 0.4),
        "recipe": "reference", "prototypes": 65536, "targets": "centred", "teacher_temperature": 0.04,
        "optimizer": "adamw", "learning_rate": 0.0005, "weight_decay": (0.04, 0.4), "momentum": 0.996,
        "batch": 64, "epochs": 100.0, "warm_up_epochs": 10.0, "freeze_epochs": 1.0, "drop_path": 0.1,
    },
    "small": {
        "backbone": "vit_tiny_patch16_224", "patch_size": 8, "image_size": 112,
        "global_px": 64, "local_px": 32, "local_crops": 6, "global_scale": (0.4, 1.0), "local_scale": (0.05, 0.4),
        "recipe": "overhead", "prototypes": 4096, "targets": "balanced", "teacher_temperature": 0.04,
        "optimizer": "muon", "learning_rate": 0.008, "weight_decay": (0.04, 0.4), "momentum": 0.99,
        "batch": 32, "epochs": 7.0, "warm_up_epochs": 0.7, "freeze_epochs": 0.3, "drop_path": 0.1,
    },
}  # fmt: skip
