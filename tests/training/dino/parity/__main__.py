"""Prints the losses of twenty steps, the reference's and ours: `python -m tests.training.dino.parity`."""

from __future__ import annotations

from tests.training.dino.parity.twenty_steps import NUMBERS, learner, steps

print(f"{'step':>4}  {'reference':>18}  {'ours':>18}  relative difference")
for step, (theirs, told) in enumerate(zip(NUMBERS["training"]["loss"], steps(learner()), strict=True), 1):
    loss = float(told["loss"])
    print(f"{step:4}  {theirs:18.15f}  {loss:18.15f}  {abs(loss - theirs) / theirs:.1e}")
