"""`embed`: GeoTIFFs to one GeoParquet, without a server."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ABOUT = """GeoTIFFs to one GeoParquet of embeddings and land cover, a row a patch, with the numbers that the service
would answer. Scenes may be of any size. Killed and called again, it goes on where it was: what is done lies in a folder
beside FILE until all is. Settings of the service count too, from the environment: ENGINE, THREADS, DECODE_WORKERS,
MAX_PIXELS (what is read as a whole; larger scenes are read by windows) and so on."""
CODES = """Exit codes: 0 every tile was embedded; 1 it cannot do what it was asked, and says why; 2 a wrong command line
or setting; 3 done, but for tiles that are listed with code and reason beside the output, in .failures.jsonl; 130 it was
stopped with ctrl-C, call it again to go on."""
#: Those of a request (`service.options`), by the names that they have there.
OPTIONS = {
    "bands": "names of the files' bands in file order, such as B04,B03,B02, or a usual order, such as rgbnir",
    "boa_offset": "auto (default), 0 or -1000: what is added to Sentinel-2's DN",
    "scale": "factor from file values to reflectance × 10,000",
    "stride": "pixels from one window of a scene to the next (default: a patch; less lets them overlap)",
    "outputs": "embedding,probabilities (default) or one of them",
    "embedding_dtype": "float32 (default), float16 or int8 with its scale",
    "top_k": "only the k likeliest labels",
    "threshold": "in place of the model's own thresholds",
    "require_geo": "true: refuse images without georeference",
}


def main(arguments: Sequence[str]) -> int:
    """The exit code, as CODES has them."""
    parser = argparse.ArgumentParser(prog="python -m service embed", description=ABOUT, epilog=CODES)
    parser.add_argument(
        "tiles", nargs="+", metavar="PATH", help="files, globs, folders, or s3:// objects and prefixes; "
        "band files (…_B04.tif) of a tile come together",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet")
    parser.add_argument(
        "--map", type=Path, metavar="FILE.tif", help="of one scene: probabilities, a band a label (COG)"
    )
    parser.add_argument("--geojson", type=Path, metavar="FILE", help="footprints with land cover, without embeddings")
    parser.add_argument("--model", type=Path, metavar="DIR", help="artifact (default: MODEL_DIR, else the bundled one)")
    for name, about in OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", help=about)
    return _carry_out(parser.parse_args(arguments))


def _carry_out(asked: argparse.Namespace) -> int:
    from service import options
    from service.commands import environment
    from service.errors import ServiceError
    from service.imagery.decoding.fork_server import PoolBroken
    from service.model.artifact import ArtifactError
    from service.model.engine import EngineError
    from service.offline.command import Asked, embed
    from service.offline.errors import OfflineError

    settings = environment.settings()
    said = [(name, getattr(asked, name)) for name in OPTIONS if getattr(asked, name) is not None]
    try:
        wanted = options.parse(said, {}, None)
    except ServiceError as error:
        print(error.detail, file=sys.stderr)
        return 2
    try:
        outcome = embed(
            Asked(asked.tiles, asked.out, asked.map, asked.geojson, asked.model or settings.model_source, wanted),
            settings,
        )
    except (OfflineError, ArtifactError, EngineError, ServiceError, PoolBroken, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nstopped; called again, it goes on with {asked.out}", file=sys.stderr)
        return 130
    return outcome
