"""Ours beside numbers that the reference gave, once (README.md)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from service.model.manifest import BackboneSpec
from tests.training.dino.parity import filling
from tests.training.dino.parity.twenty_steps import EPOCHS, NUMBERS, STEPS_AN_EPOCH, learner, steps
from training.dino import method, schedules
from training.dino.chance import Chance
from training.dino.learner import _optimizers
from training.dino.network import Network, drop_path, positions

LARGEST = 1e-9  # relative error
#: Of what parameters changed by: the biases of keys have no gradient but rounding's, and AdamW enlarges that.
LARGEST_OF_CHANGES = 1e-8
SMALL = BackboneSpec(timm="vit_small_patch16_224", patch_size=16, dim=384, image_size=224)
TEST = BackboneSpec(timm="test_vit", patch_size=8, dim=64, image_size=48)


def error(ours: Tensor, theirs: Any) -> float:
    """Largest difference, relative to the largest of their numbers, or to 1e-6 where those are what rounding left."""
    known = torch.tensor(theirs, dtype=torch.float64)
    assert ours.shape == known.shape
    return float((ours.detach() - known).abs().max() / known.abs().max().clamp(min=1e-6))


def filled_network(spec: BackboneSpec) -> Network:
    network = Network(spec, 3, 64).double()
    filling.fill(network)
    return network


@pytest.fixture(scope="module")
def vit_small() -> Network:
    return filled_network(SMALL)


@torch.inference_mode()
@pytest.mark.parametrize("size", [224, 96])
def test_vit_small_gives_the_same_embeddings_at_its_own_size_and_for_small_crops(vit_small: Network, size: int) -> None:
    image = filling.filled(f"image of {size}", 1, 3, size, size, scale=2.0)
    assert error(vit_small.embed(image)[0], NUMBERS["vit_small"][str(size)]) < LARGEST


@torch.inference_mode()
@pytest.mark.parametrize("size", [48, 24, 72])
def test_a_vit_gives_the_same_embeddings_at_its_own_a_smaller_and_a_larger_size(size: int) -> None:
    images = filling.filled(f"image of {size}", 2, 3, size, size, scale=2.0)
    assert error(filled_network(TEST).embed(images), NUMBERS["test_vit"][str(size)]) < LARGEST


def test_a_grid_of_14_positions_becomes_the_same_grid_of_6(vit_small: Network) -> None:
    found = positions(vit_small.backbone.pos_embed, 6)
    assert found.shape == (1, 37, 384)
    assert error(found[0, :, :2], NUMBERS["positions_96"]["first_columns"]) < LARGEST
    assert error(filling.digest(found), NUMBERS["positions_96"]["digest"]) < LARGEST


def test_the_head_has_the_same_outputs_and_gradients() -> None:
    head = method.Head(64, 64).double()
    filling.fill(head, "head")
    outputs = head(filling.filled("embeddings", 6, 64))
    (outputs * filling.filled("weights of the outputs", 6, 64)).sum().backward()
    assert error(outputs, NUMBERS["head"]["outputs"]) < LARGEST
    found = {name: filling.digest(p.grad) for name, p in head.named_parameters(prefix="head") if p.grad is not None}
    assert found.keys() == NUMBERS["head"]["gradients"].keys()
    for name, gradient in found.items():
        assert error(gradient, NUMBERS["head"]["gradients"][name]) < LARGEST, name


def test_loss_and_centre_are_the_same_over_three_updates() -> None:
    centre = torch.zeros(1, 64, dtype=torch.float64)
    for update, known in enumerate(NUMBERS["loss"]):
        student = filling.filled(f"student of update {update}", 5 * 4, 64).requires_grad_()
        teacher = filling.filled(f"teacher of update {update}", 2 * 4, 64)
        loss = method.cross_view_loss(student, method.centred(teacher, 0.04, centre), 5)
        loss.backward()
        centre.lerp_(teacher.mean(0, keepdim=True), 1 - method.CENTRE_MOMENTUM)
        assert error(loss, known["loss"]) < LARGEST
        assert student.grad is not None
        assert error(filling.digest(student.grad), known["gradient"]) < LARGEST
        assert error(centre[0], known["centre"]) < LARGEST


@pytest.mark.parametrize("known", NUMBERS["schedules"], ids=lambda k: f"{k['epochs']}x{k['steps_an_epoch']}")
def test_schedules_are_the_same_at_every_step(known: dict[str, Any]) -> None:
    count, warm_up = known["epochs"] * known["steps_an_epoch"], known["warm_up_epochs"] * known["steps_an_epoch"]
    rates, decays, momenta = (
        torch.tensor(list(map(schedule, range(count))), dtype=torch.float64)
        for schedule in (
            lambda step: schedules.warm_up_then_cosine(step, count, warm_up, 0.0005 * 64 / 256, 1e-6),
            lambda step: schedules.cosine(step, count, 0.04, 0.4),
            lambda step: schedules.cosine(step, count, 0.996, 1.0),
        )
    )
    assert error(rates, known["learning_rate"]) < LARGEST
    assert error(decays, known["weight_decay"]) < LARGEST
    assert error(momenta, known["momentum"]) < LARGEST


def test_the_same_parameters_decay() -> None:
    network = Network(SMALL, 3, 64)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = _optimizers(network, "adamw")["adamw"].param_groups
    found = {group["decays"]: sorted(names[id(p)] for p in group["params"]) for group in groups}
    assert found == {True: NUMBERS["groups"]["decay"], False: NUMBERS["groups"]["rest"]}


def test_each_gradient_is_clipped_as_far() -> None:
    tensors = [torch.zeros(40, 5, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    for index, (tensor, scale) in enumerate(zip(tensors, (0.01, 0.3, 1, 100), strict=True)):
        tensor.grad = filling.filled(f"gradient {index}", 40, 5, scale=scale)
    method.clip_each(tensors)
    assert [norm > 3 for norm in NUMBERS["clipping"]["norms"]] == [False, False, True, True]
    for tensor, known in zip(tensors, NUMBERS["clipping"]["clipped"], strict=True):
        assert tensor.grad is not None
        assert error(filling.digest(tensor.grad), known) < LARGEST


def test_blocks_drop_their_paths_as_often() -> None:
    kept = drop_path(0.1, 12, 2, 50_000, Chance(0, torch.device("cpu"))).double()
    assert kept.shape == (12, 2, 100_000, 1, 1)
    scale = kept.amax((1, 2, 3, 4))  # what is kept is made larger, so that the mean stays
    assert error(1 - 1 / scale, NUMBERS["drop_path"]) < 1e-6  # they are float32
    for often in (kept == 0).double().mean(2).squeeze().T:
        assert (often - torch.tensor(NUMBERS["drop_path"])).abs().max() < 5 * (0.1 * 0.9 / 100_000) ** 0.5


def test_a_dropped_path_leaves_what_came_in() -> None:
    network = filled_network(TEST)
    images = filling.filled("image of 48", 2, 3, 48, 48, scale=2.0)
    depth = len(network.backbone.blocks)
    whole = torch.ones(depth, 2, 2, 1, 1, dtype=torch.float64)
    assert torch.allclose(network.embed(images, whole), network.embed(images), atol=1e-12)
    none = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 1, 2, 1, 1).expand(depth, 2, -1, -1, -1)
    found = network.embed(images, none)
    bare = network.backbone.cls_token[0] + network.backbone.pos_embed[0, :1]
    assert torch.allclose(found[0], network.backbone.norm(bare)[0], atol=1e-12)
    assert torch.allclose(found[1], network.embed(images)[1], atol=1e-12)


def test_a_network_begins_with_the_same_distributions() -> None:
    torch.manual_seed(0)
    network = Network(SMALL, 3, 1024)
    found = {name: parameter.detach() for name, parameter in network.named_parameters()}
    assert found.keys() == NUMBERS["initial"].keys()
    for name, parameter in found.items():
        mean, deviation, largest = NUMBERS["initial"][name]
        allowed = 5 / math.sqrt(parameter.numel())  # standard errors of two draws
        assert abs(float(parameter.mean()) - mean) <= allowed * deviation, name
        assert math.isclose(float(parameter.std(correction=0)), deviation, rel_tol=allowed), name
        assert float(parameter.abs().max()) <= largest * 1.6, name  # normal: of as many draws; uniform: their bound


def test_twenty_steps_of_training_are_the_same() -> None:
    known, made = NUMBERS["training"], learner()
    start = {name: parameter.detach().clone() for name, parameter in made.student.named_parameters()}
    for step, told in enumerate(steps(made)):
        for name in ("loss", "learning_rate", "weight_decay", "momentum"):
            assert math.isclose(float(told[name]), known[name][step], rel_tol=LARGEST), f"{name} of step {step}"
        assert error(filling.digest(made.centre), known["centres"][step]) < LARGEST, f"centre of step {step}"
        for who, theirs in known["changes"].get(str(step + 1), {}).items():
            ours = {name: p - start[name] for name, p in getattr(made, who).named_parameters()}
            assert ours.keys() == theirs.keys()
            for name, change in ours.items():
                assert error(filling.digest(change), theirs[name]) < LARGEST_OF_CHANGES, f"{who}, {name}, step {step}"
        if step > 0:  # the first has a rate of 0
            rested = [name for name, p in made.student.named_parameters() if torch.equal(p, start[name])]
            assert rested == NUMBERS["frozen"][min(step // STEPS_AN_EPOCH, 1)], f"step {step}"
    assert step + 1 == EPOCHS * STEPS_AN_EPOCH
    assert max(known["clipped"]) > 1, "gradients were clipped on the way"
