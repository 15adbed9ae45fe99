"""One step of DINO, in the order of the paper's algorithm: crops in, student and teacher a little wiser."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from training.dino import method, schedules
from training.dino.chance import Chance
from training.dino.config import Config
from training.dino.network import Network, drop_path
from training.distributed import ALONE, Workers

FINAL_LEARNING_RATE = 1e-6
MUON_TO_ADAMW = 2.0  # Muon's updates have the size of AdamW's (match_rms_adamw); twice that was best on EuroSAT
DTYPES = {"bfloat16": torch.float32, "float32": torch.float32, "float64": torch.float64}  # of the weights


class Learner:
    """Student, teacher and all else that a step changes; the same in every process after every step."""

    def __init__(
        self,
        config: Config,
        device: torch.device,
        steps_an_epoch: int,
        workers: Workers = ALONE,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(config.seed)
        bands, dtype = len(config.bands), DTYPES[config.dtype]
        self.config, self.device, self.workers = config, device, workers
        self.steps_an_epoch = steps_an_epoch
        self.steps = round(config.epochs * steps_an_epoch)
        self.student = Network(config.spec, bands, config.prototypes).to(device, dtype)
        self.teacher = Network(config.spec, bands, config.prototypes).to(device, dtype)
        self.teacher.requires_grad_(False).eval().load_state_dict(self.student.state_dict())
        self.centre = torch.zeros(1, config.prototypes, device=device, dtype=dtype)
        self.optimizers = _optimizers(self.student, config.optimizer)
        self._embed = self.teacher.embed
        if compiled:
            self.student.compile(dynamic=False)
            self._embed = torch.compile(self.teacher.embed, dynamic=False)
        self._student = workers.averaging(self.student)

    @property
    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer | Tensor]:
        """What a checkpoint keeps."""
        return {"student": self.student, "teacher": self.teacher, "centre": self.centre, **self.optimizers}

    def learn(self, step: int, big: Tensor, small: Tensor, chance: Chance) -> dict[str, Tensor | float]:
        """One step on this process's share of the batch, as normalised crops.

        `big` is 2N × C × global_px², all first crops before all second ones; `small` (local_crops · N) × C ×
        local_px². `chance` draws the paths to drop. Returns figures whose mean over the processes is that of the
        whole batch; they stay on the device, so that nobody has to wait for it.
        """
        config, now, sum_ = self.config, self.schedule(step), self.workers.sum
        images = len(big) // 2
        crops, views = ((big, small), (2, config.local_crops)) if len(small) else ((big,), (2,))
        depth = len(self.student.backbone.blocks)
        kept = [drop_path(config.drop_path, depth, count, images, chance) for count in views if config.drop_path]
        with self.autocast():
            with torch.no_grad():
                features = self._embed(big)
                teacher = self.teacher.head(features)
            student = self._student(*crops, kept=kept)
        teacher, student = teacher.to(self.centre.dtype), student.to(self.centre.dtype)
        if config.targets == "balanced":
            targets = method.balanced(teacher, config.teacher_temperature, sum_=sum_)
        else:
            targets = method.centred(teacher, config.teacher_temperature, self.centre)
        weight = images * self.workers.place.world / config.batch  # 1, but where shares differ
        loss = weight * method.cross_view_loss(student, targets, 2 + config.local_crops)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss.backward()
        parameters = list(self.student.parameters())
        method.clip_each(parameters)
        if step < config.freeze_epochs * self.steps_an_epoch:
            self.student.head.prototypes.grad = None
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = now["learning_rate"] * (MUON_TO_ADAMW if name == "muon" else 1)
                group["weight_decay"] = now["weight_decay"] if group["decays"] else 0.0
            optimizer.step()
        method.follow(list(self.teacher.parameters()), parameters, now["momentum"])
        mean = sum_(teacher.sum(0, keepdim=True)) / (2 * config.batch)
        self.centre.lerp_(mean, 1 - method.CENTRE_MOMENTUM)
        return {
            "loss": loss.detach(),
            "entropy": weight * method.entropy(targets),
            "feature_std": method.spread(features, 2 * config.batch, sum_),
            **now,
        }

    def schedule(self, step: int) -> dict[str, float]:
        """Learning rate, weight decay and the teacher's momentum at a step; the batch is that of all processes."""
        config, steps = self.config, self.steps
        peak = config.learning_rate * config.batch / 256
        warm_up = round(config.warm_up_epochs * self.steps_an_epoch)
        return {
            "learning_rate": schedules.warm_up_then_cosine(step, steps, warm_up, peak, FINAL_LEARNING_RATE),
            "weight_decay": schedules.cosine(step, steps, *config.weight_decay),
            "momentum": schedules.cosine(step, steps, config.momentum, 1.0),
        }

    @torch.inference_mode()
    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of the teacher: N × C × H × W, normalised, to N × dim."""
        with self.autocast():
            embeddings: Tensor = self.teacher.backbone(images.to(self.device, self.centre.dtype)).float()
        return embeddings

    def autocast(self) -> AbstractContextManager[Any]:
        """Within, products of matrices are bfloat16 if the run's arithmetic is."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.dtype == "bfloat16")


def _optimizers(student: Network, kind: str) -> dict[str, torch.optim.Optimizer]:
    """AdamW for all, or Muon for the matrices of the backbone's blocks and AdamW for the rest.

    Biases, norms and everything else with one dimension do not decay. Raises ValueError where torch has no Muon.
    """
    if kind == "muon" and not hasattr(torch.optim, "Muon"):
        raise ValueError(f"torch {torch.__version__} has no Muon (2.9 and later have): choose --optimizer adamw")
    named = list(student.named_parameters())
    hidden = [p for name, p in named if kind == "muon" and p.ndim == 2 and name.startswith("backbone.blocks.")]
    of_muon = {id(p) for p in hidden}
    rest = [p for _, p in named if id(p) not in of_muon]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "decays": True},
        {"params": [p for p in rest if p.ndim <= 1], "decays": False},
    ]
    optimizers: dict[str, torch.optim.Optimizer] = {"adamw": torch.optim.AdamW(groups, lr=0.0, fused=True)}
    if hidden:
        muon = torch.optim.Muon([{"params": hidden, "decays": True}], lr=0.0, adjust_lr_fn="match_rms_adamw")
        optimizers["muon"] = muon
    return optimizers
