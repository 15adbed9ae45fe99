"""The service, and the same model without one:

    serve     answer HTTP requests (default): what the container runs; settings come from the environment
    embed     GeoTIFFs, folders and S3 prefixes to one GeoParquet, to maps and to GeoJSON
    similar   the nearest neighbours of a patch among embeddings

`python -m service COMMAND --help` says more, exit codes too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

COMMANDS = ("serve", "embed", "similar")  #: modules of `service.commands`, of which only the one asked for is imported


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(
        prog="python -m service", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", default=COMMANDS[0], choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    return int(import_module(f"service.commands.{asked.command}").main(asked.arguments))


if __name__ == "__main__":
    sys.exit(main())
