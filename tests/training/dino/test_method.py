from __future__ import annotations

import math

import torch

from training.dino import method, schedules


def test_the_loss_is_the_mean_cross_entropy_of_all_pairs_of_different_views() -> None:
    torch.manual_seed(0)
    n, prototypes, views = 3, 7, 5
    student, teacher = torch.randn(views * n, prototypes), torch.randn(2 * n, prototypes)
    targets = method.centred(teacher, 0.04, torch.randn(1, prototypes))
    total, pairs = 0.0, 0
    for t in range(2):
        for s in range(views):
            if s != t:
                for i in range(n):
                    log_p = torch.log_softmax(student[s * n + i] / 0.1, 0)
                    total -= float((targets[t * n + i] * log_p).sum()) / n
                pairs += 1
    assert math.isclose(float(method.cross_view_loss(student, targets, views)), total / pairs, rel_tol=1e-5)


def test_centred_targets_are_a_sharpened_softmax_of_what_exceeds_the_centre() -> None:
    logits, centre = torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    weights = [math.exp(v / 0.5) for v in (0.0, 0.5, 0.0)]
    assert torch.allclose(method.centred(logits, 0.5, centre), torch.tensor([[w / sum(weights) for w in weights]]))


def test_balanced_targets_are_probabilities_that_use_every_prototype_alike() -> None:
    torch.manual_seed(0)
    logits = torch.randn(64, 16) * 0.1 + torch.linspace(0, 0.2, 16)  # all images prefer the last prototypes
    targets = method.balanced(logits, 0.05, rounds=50)
    assert torch.allclose(targets.sum(1), torch.ones(64), atol=1e-5)
    assert torch.allclose(targets.sum(0), torch.full((16,), 4.0), atol=1e-2)
    assert method.centred(logits, 0.05, torch.zeros(1, 16)).sum(0)[-1] > 6


def test_the_head_gives_cosines() -> None:
    torch.manual_seed(0)
    head = method.Head(12, 30, hidden=8, bottleneck=4)
    out = head(torch.randn(5, 12) * 100)
    assert out.shape == (5, 30)
    assert out.abs().max() <= 1 + 1e-5
    with torch.no_grad():
        head.prototypes.mul_(7)
    assert torch.allclose(head(torch.ones(1, 12)), head(torch.ones(1, 12)))


def test_each_gradient_is_clipped_on_its_own() -> None:
    small, large = (torch.zeros(4, requires_grad=True) for _ in range(2))
    small.grad, large.grad = torch.full((4,), 0.5), torch.full((4,), 50.0)
    method.clip_each([small, large, torch.zeros(1, requires_grad=True)])
    assert torch.equal(small.grad, torch.full((4,), 0.5))
    assert math.isclose(float(large.grad.norm()), 3.0, rel_tol=1e-4)


def test_the_teacher_follows_the_student() -> None:
    teacher, student = [torch.tensor([1.0])], [torch.tensor([3.0])]
    method.follow(teacher, student, 0.75)
    assert torch.allclose(teacher[0], torch.tensor([1.5]))


def test_entropy_is_zero_for_certainty_and_ln_k_for_ignorance() -> None:
    assert float(method.entropy(torch.eye(4))) < 1e-6
    assert math.isclose(float(method.entropy(torch.full((2, 8), 1 / 8))), math.log(8), rel_tol=1e-5)


def test_schedules_begin_and_end_where_they_should() -> None:
    def rates() -> list[float]:
        return [schedules.warm_up_then_cosine(step, 100, 10, 1.0, 0.1) for step in range(101)]

    assert rates()[0] == 0
    assert rates()[9] == 1
    assert rates()[10] == 1
    assert math.isclose(rates()[55], 0.55)
    assert math.isclose(rates()[100], 0.1)
    assert [round(schedules.cosine(step, 4, 0.04, 0.4), 9) for step in (0, 2, 4)] == [0.04, 0.22, 0.4]


def test_spread_is_that_of_the_whole_batch_however_many_processes_have_it() -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 5)
    unit = torch.nn.functional.normalize(features.double(), dim=-1)
    whole = float(unit.std(0).mean() * 5**0.5)
    assert math.isclose(float(method.spread(features, 6)), whole, rel_tol=1e-9)
    total = torch.stack([unit.sum(0), unit.square().sum(0)])
    assert math.isclose(float(method.spread(features[:2], 6, lambda _: total)), whole, rel_tol=1e-9)
    assert float(method.spread(features[:1].expand(6, -1), 6)) < 1e-6
