"""`similar`: the patches of a GeoParquet whose embeddings are most like that of one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ABOUT = """The patches whose embeddings have the largest cosine with that of one patch, nearest first: of a file that
`embed`, the service or `deploy collect` wrote. Exact: every patch of FILE is looked at."""
CODES = "Exit codes: 0 found; 1 it cannot be done, and why; 2 a wrong command line."
WRITTEN = (".parquet", ".geojson", ".csv")


def main(arguments: Sequence[str]) -> int:
    """The exit code, as CODES has them."""
    parser = argparse.ArgumentParser(prog="python -m service similar", description=ABOUT, epilog=CODES)
    parser.add_argument("embeddings", type=Path, metavar="FILE.parquet")
    parser.add_argument("--id", required=True, help="of the tile that the patch is of, or its source")
    parser.add_argument("--window", type=_window, metavar="C,R,W,H", help="of the patch, where its tile has several")
    parser.add_argument("--like", type=Path, metavar="OTHER.parquet", help="where the patch is, if not in FILE")
    parser.add_argument("--k", type=_count, default=10, help="how many (default: 10)")
    parser.add_argument("--to", type=_written, metavar="FILE", help=f"write them, too: {', '.join(WRITTEN)}")
    asked = parser.parse_args(arguments)
    if asked.to and asked.to.resolve() in {file.resolve() for file in (asked.embeddings, asked.like) if file}:
        parser.error(f"--to would write over {asked.to}")

    from service.offline.errors import OfflineError
    from service.offline.neighbours import Embeddings, cosine_table, write

    try:
        embeddings = Embeddings(asked.embeddings)
        of = Embeddings(asked.like) if asked.like else embeddings
        rows = embeddings.nearest(of, of.find(asked.id, asked.window), asked.k)
        if asked.to:
            write(rows, asked.to)
    except (OfflineError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(cosine_table(rows))
    return 0


def _window(text: str) -> tuple[int, ...]:
    window = tuple(map(int, text.split(",")))
    if len(window) != 4:
        raise argparse.ArgumentTypeError("say column, row, width and height, as 120,0,120,120")
    return window


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def _written(text: str) -> Path:
    path = Path(text)
    if path.suffix not in WRITTEN:
        raise argparse.ArgumentTypeError(f"the name ends in one of {', '.join(WRITTEN)}")
    return path
