"""Where a command runs: on this machine, or in a job on SageMaker."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from training.commands import account

CPU, GPU = "ml.m5.4xlarge", "ml.g5.2xlarge"
DEFAULTS = {"instance_count": 1, "spot": False, "max_hours": 24.0, "volume_gb": 100, "image": None, "no_wait": False}
OPTIONS = (
    *("--on", "--stack-name", "--region", "--dry-run", "--instance-type", "--instance-count", "--spot", "--max-hours"),
    *("--volume-gb", "--image", "--no-wait", "--endpoint"),
)  #: of this group: none of them travels


def add(command: argparse.ArgumentParser, instance_type: str = CPU, spot: bool = True, many: bool = False) -> None:
    """The options of a command that can run on SageMaker; many: on several instances."""
    group = command.add_argument_group("place", "all but --on goes with --on sagemaker")
    group.add_argument("--on", choices=["local", "sagemaker"], default="local", help="where it runs")
    unsaid: dict[str, Any] = {"default": argparse.SUPPRESS}
    account.add(group)
    group.add_argument(
        "--instance-type", type=_instance_type, help=f"such as g5, g6, p4d, p5 (default: {instance_type})", **unsaid
    )
    command.set_defaults(usual_instance_type=instance_type)
    if many:
        group.add_argument("--instance-count", type=int, help="default: 1", **unsaid)
    if spot:
        group.add_argument(
            "--spot", action="store_true", help="cheaper, and interrupted at times: it goes on by itself", **unsaid
        )
    group.add_argument("--max-hours", type=float, help="after which it is stopped (default: 24)", **unsaid)
    group.add_argument("--volume-gb", type=int, help="for stores and run (default: 100)", **unsaid)
    group.add_argument("--image", help="of the container, with torch (default: SageMaker's newest)", **unsaid)
    group.add_argument("--no-wait", action="store_true", help="only start it; `watch` follows it later", **unsaid)


def _instance_type(text: str) -> str:
    if not text.startswith("ml."):
        raise argparse.ArgumentTypeError(f"{text} is none of SageMaker's: they begin with ml.")
    if text.startswith("ml.p3"):
        raise argparse.ArgumentTypeError(f"{text} has V100 GPUs, which CUDA 13 no longer knows; take g5, g6, p4d or p5")
    return text


def command(
    asked: argparse.Namespace, known: argparse.ArgumentParser, again: argparse.ArgumentParser, line: Sequence[str]
) -> Callable[[argparse.Namespace], int]:
    """What carries a command out where it was asked for. `again` is another parser like `known`, to be used up."""
    here: Callable[[argparse.Namespace], int] = asked.command
    if not hasattr(asked, "on"):
        return here
    from training import outside

    typed = outside.as_typed(again, line)
    if asked.on == "sagemaker":
        from training.commands import elsewhere

        words = " ".join(line[:2] if line[0] == "prepare" else line[:1])
        return lambda asked: elsewhere.carry_out(words, asked, typed)
    if misplaced := [option for option in typed if option in OPTIONS and option != "--on"]:
        known.error(f"{', '.join(misplaced)}: only with --on sagemaker")
    return here


def said(asked: argparse.Namespace, name: str) -> Any:
    """An option of the group, or its default."""
    return getattr(asked, name, DEFAULTS.get(name))
