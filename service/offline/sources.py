"""Which tiles are meant: files, globs, folders and S3 prefixes, with the band files of a tile together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.imagery.bands import band_at_the_end, canonical
from service.offline import s3
from service.offline.errors import OfflineError
from service.tiles import LONGEST_ID


@dataclass(frozen=True)
class SourceFile:
    """A GeoTIFF where it lies."""

    place: str  #: a path, or s3://bucket/key
    size: int  #: bytes
    band: str | None = None  #: of a band file


@dataclass(frozen=True)
class SourceTile:
    """One GeoTIFF with all bands, or the band files of one tile."""

    source: str  #: the file; of band files what their names begin with, or their folder
    id: str
    files: tuple[SourceFile, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


def find(said: Sequence[str], bands: Sequence[str]) -> list[SourceTile]:
    """The tiles that are meant, in order of their names, each once.

    A folder means all GeoTIFFs (.tif, .tiff) under it, as does an S3 prefix. Band files are known by their names
    (`…_B04.tif`, or `B04.tif` in a folder of their own), as in a form over HTTP; those of bands that the model does
    not read are left out. Raises OfflineError for what leads to no file.
    """
    files: dict[str, int] = {}
    for one in said:
        found = dict(s3.listed(one) if one.startswith(s3.SCHEME) else _local(one))
        if not found:
            raise OfflineError(f"{one} leads to no GeoTIFF; name files, globs, folders, or s3://bucket/prefix.")
        files |= found
    return sorted(_by_tile(files.items(), set(map(canonical, bands))), key=lambda tile: tile.source)


def _local(said: str) -> Iterator[tuple[str, int]]:
    root, pattern = Path(Path(said).anchor), Path(said).relative_to(Path(said).anchor)
    try:
        paths = [Path(said)] if Path(said).exists() else list(root.glob(str(pattern)))
    except ValueError as error:  # "**.tif", for one
        raise OfflineError(f"{said} is no glob: {error}.") from None
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else [path]
        for file in inside:
            if not path.is_dir() or (file.suffix.lower() in (".tif", ".tiff") and file.is_file()):
                yield str(file.absolute()), file.stat().st_size


def _by_tile(files: Iterable[tuple[str, int]], read: set[str]) -> Iterator[SourceTile]:
    tiles: dict[tuple[str, bool], list[SourceFile]] = {}
    for place, size in files:
        folder, slash, name = place.rpartition("/")
        stem, band = band_at_the_end(name) or ("", None)
        source = place if band is None else f"{folder}{slash}{stem}" if stem else folder
        tiles.setdefault((source, band is None), []).append(SourceFile(place, size, band))
    for (source, is_whole), found in tiles.items():
        text = _text(source)
        name = text.rpartition("/")[2]
        wanted = found if is_whole else [file for file in found if file.band in read] or found
        yield SourceTile(text, (Path(name).stem if is_whole else name)[:LONGEST_ID] or "0", tuple(wanted))


def _text(path: str) -> str:
    """A path that may hold any bytes, as text that a file may: b"\\xfc" of a name in Latin-1 is written \\xfc."""
    return os.fsencode(path).decode(errors="backslashreplace")
