"""Inside a job of SageMaker: hyperparameters become the arguments that people type, and run.py runs as ever.

`python -m training.inside` is what a job's container starts. It takes the place of the shell that starts it, so that
SIGTERM (a spot notice, a stopped job) reaches the training: the SDK's own drivers stand between and pass none on.
Nothing here needs more than Python itself, as the project's dependencies are what it installs first.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

Typed = Mapping[str, str | bool | Sequence[str]]  #: `--option` or name of a positional → what was typed

CHECKPOINTS = Path("/opt/ml/checkpoints")  #: what is kept in S3 while the job runs: the run
CHANNELS = Path("/opt/ml/input/data")
MODEL = Path("/opt/ml/model")  #: packed into model.tar.gz after the job
RUNS = Path("/opt/ml/runs")  #: the run, under its name
SERVED = Path("/opt/ml/served")  #: what a refresh is compared with
FAILURE = Path("/opt/ml/output/failure")  #: becomes the job's FailureReason

SERVED_CHANNEL = "served"
PACKAGES = ("package", "refresh")  #: commands that end in an artifact
REFUSED = 3  #: exit code of a gate
SPREADS = ("pretrain", "refresh")  #: commands for many processes


def hyperparameters(command: str, typed: Typed) -> dict[str, str]:
    """A command line as SageMaker carries it, positionals in capitals; `arguments` is the way back."""
    return {"command": command} | {
        name.removeprefix("--") if name.startswith("--") else name.upper(): _carried(value)
        for name, value in typed.items()
    }


def _carried(value: str | bool | Sequence[str]) -> str:
    """Read as JSON and written again on its way, and put between apostrophes in a shell."""
    if not isinstance(value, str):
        return json.dumps(value if isinstance(value, bool) else [_quoted(part) for part in value])
    return _quoted(value) if _comes_as_text(_quoted(value)) else json.dumps(_quoted(value))


def _comes_as_text(text: str) -> bool:
    """True for what need not be put in quotes, and for numbers, which come back as they went."""
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        return text.isprintable()
    return isinstance(read, int | float) and not isinstance(read, bool) and json.dumps(read) == text


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("'", "%27")


def _unquoted(text: str) -> str:
    return text.replace("%27", "'").replace("%25", "%")


def arguments(environment: Mapping[str, str]) -> list[str] | None:
    """What people would have typed for a job with these hyperparameters (SM_HPS); None outside of our jobs."""
    said = json.loads(environment.get("SM_HPS", "{}"))
    command = said.pop("command", None)
    if command is None:
        return None
    own = {name: _came(value) for name, value in said.items() if not name.startswith("sagemaker_")}  # the toolkit's
    return tokens(command, {name.lower() if name.isupper() else f"--{name}": value for name, value in own.items()})


def _came(value: object) -> str | bool | list[str]:
    if isinstance(value, list):
        return [_unquoted(str(part)) for part in value]
    return value if isinstance(value, bool) else _unquoted(value if isinstance(value, str) else json.dumps(value))


def tokens(command: str, typed: Typed) -> list[str]:
    """A command line of run.py: positionals first, then options."""
    line, options = command.split(), []
    for name, value in typed.items():
        if not name.startswith("--"):
            line += [value] if isinstance(value, str) else list(value if not isinstance(value, bool) else ())
        elif isinstance(value, bool):
            options.append(name)
        elif isinstance(value, str):
            options.append(f"{name}={value}")
        elif isinstance(value, tuple):
            options += [f"{name}={one}" for one in value]
        else:
            options += [name, *value]
    return line + options


def launcher(command: str, environment: Mapping[str, str]) -> list[str]:
    """How run.py is started on this host: by torchrun where several processes train, else by itself."""
    script = str(Path(__file__).with_name("run.py"))
    hosts = json.loads(environment.get("SM_HOSTS", '["algo-1"]'))
    here = int(environment.get("SM_NUM_GPUS", "0")) or 1
    if command not in SPREADS or len(hosts) * here == 1:
        return [sys.executable, script]
    spread = ["torchrun", f"--nnodes={len(hosts)}", f"--nproc-per-node={here}"]
    if len(hosts) == 1:
        return [*spread, "--standalone", script]
    first, port = environment["SM_MASTER_ADDR"], environment["SM_MASTER_PORT"]
    rank = environment["SM_CURRENT_HOST_RANK"]
    return [*spread, f"--master-addr={first}", f"--master-port={port}", f"--node-rank={rank}", script]


def carry_out(run: Callable[[Sequence[str]], int], line: Sequence[str]) -> int:
    """Runs a command line in a job; a gate that refuses is no failure of the job. Returns the exit code."""
    furnish(line)
    try:
        code = run(line)
    except Exception as error:
        tell(error)
        raise
    is_first = os.environ.get("RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0")) == "0"
    if is_first and line[0] in PACKAGES and code in (0, REFUSED):
        shutil.copytree(CHECKPOINTS / "artifact", MODEL, dirs_exist_ok=True)
    return 0 if code == REFUSED else code


def furnish(line: Sequence[str]) -> None:
    """Puts the run under its name, and unpacks what is served. Done by every process; one of them is first."""
    for option in line:
        if option.startswith(f"--run={RUNS}/"):
            RUNS.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                Path(option.removeprefix("--run=")).symlink_to(CHECKPOINTS)
    archive = CHANNELS / SERVED_CHANNEL / "model.tar.gz"
    if archive.exists() and not SERVED.exists():
        unpacked = tempfile.mkdtemp(dir=SERVED.parent)
        with tarfile.open(archive) as tar:
            tar.extractall(unpacked, filter="data")
        with suppress(OSError):  # another process was first
            Path(unpacked).rename(SERVED)


def tell(error: Exception) -> None:
    """Says in a job why it failed."""
    if "TRAINING_JOB_NAME" in os.environ and FAILURE.parent.is_dir():
        FAILURE.write_text(f"{type(error).__name__}: {error}")


def install(requirements: Sequence[str]) -> None:
    """What the project needs and the image lacks; whatever asks for another torch than the image's is refused."""
    lacking = [requirement for requirement in requirements if not _is_there(requirement)]
    if not lacking:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pinned:
        with suppress(metadata.PackageNotFoundError):
            print(f"torch=={metadata.version('torch')}", file=pinned, flush=True)
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, *lacking, "-c", pinned.name], check=True)


def _is_there(requirement: str) -> bool:
    """Whether `name>=version` is installed."""
    name, _, least = requirement.partition(">=")
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    numbers = [[int(part) for part in re.findall(r"\d+", version)] for version in (installed, least)]
    return numbers[0] >= numbers[1]


def main(given: Sequence[str] = sys.argv[1:]) -> None:
    """Installs, and becomes run.py. A processing job gives its arguments, after the script's name."""
    install((Path(__file__).parents[1] / "requirements.txt").read_text().split())
    line = arguments(os.environ) or []
    command = launcher(line[0] if line else "", os.environ) + list(given[1:])
    os.execvp(command[0], command)  # same process, so that it is the one that is told to end


if __name__ == "__main__":
    main()
