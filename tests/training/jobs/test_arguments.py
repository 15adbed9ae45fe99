"""What people type is what run.py is told inside of a job."""

from __future__ import annotations

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from sagemaker.train.container_drivers.scripts import environment as sdk

from deploy.sources import requirements
from tests.conftest import ROOT
from training import inside, outside
from training import run as command

WORDS = (
    "small",
    "it's",
    "100%",
    "a b",
    "1.10",
    "1e-4",
    "007",
    "true",
    "null",
    "-7",
    '"x"',
    "$HOME",
    "Über\tlinie",
    "%27",
)


def options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings and action.dest != "help"]


def commands() -> Mapping[str, argparse.ArgumentParser]:
    (found,) = (action for action in command.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def through_sagemaker(hyperparameters: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment that the SDK's own script in the container makes of hyperparameters, as a shell reads it."""
    file = folder / "sm_training.env"
    resources = {
        "current_host": "algo-1", "current_instance_type": "ml.m5.xlarge", "hosts": ["algo-1"],
        "network_interface_name": "lo",
    }  # fmt: skip
    os.environ["TRAINING_JOB_NAME"] = "tested"
    try:
        sdk.set_env(resources, {}, dict(hyperparameters), str(file))
    finally:
        del os.environ["TRAINING_JOB_NAME"]
    told = "import json, os; print(json.dumps(dict(os.environ)))"
    script = f"set -e; source {shlex.quote(str(file))}; {sys.executable} -c {shlex.quote(told)}"
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    read: dict[str, str] = json.loads(told)
    return read


def line_of(name: str, parser: argparse.ArgumentParser, chance: random.Random) -> list[str]:
    """A command line with every option of a command, values as they come."""
    line = [name]
    for action in parser._actions:
        count = 2 if action.nargs == "+" else 0 if action.nargs == 0 else 1
        if action.dest in ("help", "predictions"):  # the second excludes --run
            continue
        values = [
            chance.choice(list(action.choices)) if action.choices else _value(action, chance) for _ in range(count)
        ]
        if not action.option_strings:
            line += values
        elif count == 1:
            line.append(f"{action.option_strings[-1]}={values[0]}")
        else:
            line += [action.option_strings[-1], *values]
    return line


def _value(action: argparse.Action, chance: random.Random) -> str:
    kind = getattr(action.type, "__name__", "str")
    numbers = {"int": str(chance.randrange(-9, 999)), "float": repr(chance.lognormvariate(0, 9)), "pair": "0.4,1.0"}
    known = {
        **numbers,
        "share": "0.9",
        "_checksum": "a.zip=ff",
        "names": "train,none",
        "_instance_type": "ml.g5.xlarge",
    }
    word = chance.choice(WORDS)
    return known.get(kind, word if action.option_strings else f"store{chance.randrange(9)}")


@pytest.mark.parametrize("name", ["pretrain", "probe", "evaluate", "report", "package", "refresh"])
@pytest.mark.parametrize("seed", range(3))
def test_a_command_line_comes_out_of_hyperparameters_as_it_went_in(name: str, seed: int, tmp_path: Path) -> None:
    line = line_of(name, commands()[name], random.Random(f"{name} {seed}"))
    typed = outside.as_typed(command.parser(), line)
    carried = inside.hyperparameters(name, typed)
    assert all(isinstance(value, str) and "'" not in value and "\n" not in value for value in carried.values())
    told = inside.arguments(through_sagemaker(carried, tmp_path))
    assert told is not None
    assert outside.as_typed(command.parser(), told) == typed
    assert vars(command.parser().parse_args(told)) == vars(command.parser().parse_args(line))


@pytest.mark.parametrize("kind", ["bigearthnet-v1", "eurosat", "geotiffs"])
def test_a_preparation_is_told_what_was_typed(kind: str) -> None:
    (kinds,) = (action for action in commands()["prepare"]._actions if isinstance(action, argparse._SubParsersAction))
    line = ["prepare", *line_of(kind, kinds.choices[kind], random.Random(kind))]
    line += ["--sha256", "a.zip=00"] if kind == "eurosat" else []
    typed = outside.as_typed(command.parser(), line)
    told = inside.tokens(f"prepare {kind}", typed)
    assert vars(command.parser().parse_args(told)) == vars(command.parser().parse_args(line))


def test_of_the_images_torch_nothing_is_asked_and_what_is_there_is_not_installed() -> None:
    wanted = requirements()
    names = {line.partition(">=")[0] for line in wanted}
    assert {"timm", "rasterio", "pyarrow", "numpy"} <= names
    assert not {"torch", "torchvision", "sagemaker", "aerial-featurizer"} & names
    inside.install(wanted)
    with pytest.raises(subprocess.CalledProcessError):
        inside.install(["no-such-project-of-this-name @ file:///nowhere/at/all.whl"])


def test_outside_of_a_job_there_are_no_arguments_but_those_typed() -> None:
    assert inside.arguments({}) is None
    assert inside.arguments({"SM_HPS": '{"epochs": 2}'}) is None  # a job that is none of ours


@pytest.mark.parametrize(
    ("environment", "begins"),
    [
        ({}, [sys.executable]),
        ({"SM_NUM_GPUS": "4"}, ["torchrun", "--nnodes=1", "--nproc-per-node=4", "--standalone"]),
        (
            {
                "SM_HOSTS": '["algo-1", "algo-2"]', "SM_MASTER_ADDR": "algo-1", "SM_MASTER_PORT": "7777",
                "SM_CURRENT_HOST_RANK": "1",
            },
            [
                *("torchrun", "--nnodes=2", "--nproc-per-node=1", "--master-addr=algo-1", "--master-port=7777"),
                "--node-rank=1",
            ],
        ),
    ],
)  # fmt: skip
def test_torchrun_starts_a_process_a_device_and_knows_the_hosts(environment: dict[str, str], begins: list[str]) -> None:
    script = str(ROOT / "training" / "run.py")
    assert inside.launcher("pretrain", environment) == [*begins, script]
    assert inside.launcher("probe", environment) == [sys.executable, script]  # one process does it


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["pretrain", "tiles", "--spot"], "--spot: only with --on sagemaker"),
        (
            ["probe", "tiles", "--run", "r", "--stack-name", "s", "--dry-run"],
            "--stack-name, --dry-run: only with --on sagemaker",
        ),
        (["pretrain", "tiles", "--on", "sagemaker", "--instance-type", "ml.p3.2xlarge"], "V100"),
        (["pretrain", "tiles", "--on", "sagemaker", "--instance-type", "g5"], "begin with ml."),
    ],
)
def test_what_belongs_to_sagemaker_is_refused_elsewhere(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(line)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_nothing_heavy_is_imported_to_answer_help() -> None:
    heavy = "{'torch', 'numpy', 'boto3', 'botocore', 'sagemaker'} & set(sys.modules)"
    code = f"import sys; sys.argv = ['x']; import training.run, training.inside; print(len({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "0\n"
