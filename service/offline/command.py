"""What `embed` does, from the first look at what is named to the files that are asked for."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.answers import parquet
from service.batching import Batcher
from service.imagery.errors import ImageryError
from service.metrics import Metrics
from service.model import artifact as artifacts
from service.model import engine as engines
from service.model.artifact import Artifact
from service.offline import layers
from service.offline.errors import OfflineError
from service.offline.journal import Journal
from service.offline.pieces import Decoding
from service.offline.progress import Progress
from service.offline.run import Run
from service.offline.sources import SourceTile, find
from service.options import Options
from service.settings import Settings

SOME_REFUSED = 3  # exit code


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    tiles: Sequence[str]
    out: Path
    map: Path | None
    geojson: Path | None
    model: Path
    options: Options


def embed(asked: Asked, settings: Settings) -> int:
    """The exit code. Raises OfflineError, ArtifactError, EngineError, ServiceError, PoolBroken, OSError."""
    if asked.out.suffix != ".parquet":
        raise OfflineError(f"{asked.out} must end in .parquet.")
    if asked.out.exists():
        raise OfflineError(f"{asked.out} is there already; remove it, or name another.")
    artifact = artifacts.load(asked.model)
    if (asked.options.stride or 0) > (patch_px := artifact.manifest.input.patch_px):
        raise OfflineError(f"A stride of more than a patch leaves pixels out: name at most {patch_px}.")
    tiles = find(asked.tiles, artifact.manifest.input.bands)
    _refuse_layers(asked, tiles)
    found = engines.choose(artifact, settings.threads, settings.engine)
    folder = asked.out.with_name(asked.out.name + ".parts")
    terms = {
        "model": artifact.sha256,
        "engine": found.each[0].name,
        "options": asked.options.model_dump(mode="json"),
        "limits": settings.max_pixels,
    }
    journal = Journal(folder, terms, parquet.schema(artifact, asked.options))
    downloads = folder / "downloads"
    shutil.rmtree(downloads, ignore_errors=True)  # of a run that was killed
    downloads.mkdir()
    try:
        asyncio.run(_run(tiles, artifact, found, asked.options, settings, journal, downloads))
    except BaseException:
        journal.close()
        raise
    if asked.map is not None and tiles[0].source in journal.finished:
        try:
            print(*layers.write_map(journal, tiles[0].source, artifact, asked.options.stride, asked.map), sep="\n")
        except ImageryError as error:
            raise OfflineError(f"{error.detail} Without --map, called again, it goes on.") from None
    if asked.geojson is not None:
        layers.write_geojson(journal, artifact, asked.geojson)
        print(asked.geojson)
    code = _tell_refused(journal, asked.out.with_suffix(".failures.jsonl"))
    count = journal.join(asked.out)  # last: with it the run is over, also if it is killed now
    print(f"{asked.out}: {count} patches of {len(journal.finished)} tiles")
    journal.remove()
    return code


def _refuse_layers(asked: Asked, tiles: Sequence[SourceTile]) -> None:
    if asked.map is not None and len(tiles) > 1:
        raise OfflineError(f"A map is of one scene, and these are {len(tiles)} tiles: leave --map out, or name one.")
    files = [file for file in (asked.map, asked.geojson) if file is not None]
    if files and "probabilities" not in asked.options.outputs:
        raise OfflineError("Maps and GeoJSON show land cover: leave --outputs out, or name probabilities.")
    places = {part.place for tile in tiles for part in tile.files} if files else ()
    for file in files:
        if str(file.absolute()) in places:
            raise OfflineError(f"{file} is a tile itself, and would be written over: name another file.")
        file.parent.mkdir(parents=True, exist_ok=True)


async def _run(
    tiles: Sequence[SourceTile], artifact: Artifact, found: engines.Engines, options: Options,
    settings: Settings, journal: Journal, downloads: Path,
) -> None:  # fmt: skip
    batcher = Batcher(Metrics())
    batcher.start(found)
    left = [tile for tile in tiles if not journal.is_over(tile.source)]
    progress = Progress(len(tiles), sum(tile.size for tile in tiles))
    progress.skip(sum(tile.size for tile in tiles) - sum(tile.size for tile in left))
    decoding = Decoding(artifact, settings, options.for_reading(settings.limits), journal, progress, downloads)
    try:
        await Run(artifact, options, batcher, decoding, journal, progress).embed(left)
    finally:
        progress.end()
        await decoding.close()
        await batcher.close()


def _tell_refused(journal: Journal, beside: Path) -> int:
    """Lists what was refused in a file, and says how many; the exit code."""
    if not journal.refused:
        beside.unlink(missing_ok=True)  # of a run before
        return 0
    lines = [json.dumps({"source": source, **error}) + "\n" for source, error in journal.refused.items()]
    beside.write_text("".join(lines))
    counts = Counter(error["code"] for error in journal.refused.values())
    codes = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    print(f"{beside}: {len(journal.refused)} were refused ({codes})", file=sys.stderr)
    return SOME_REFUSED
