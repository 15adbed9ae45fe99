"""A tile where it lies, opened: fetched if it is far away, its header read, and how it is to be decoded."""

from __future__ import annotations

import errno
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import ServiceError
from service.imagery.errors import ImageryError
from service.imagery.patches import InputSpec, ReadOptions, TileFile
from service.imagery.tiff import header
from service.imagery.tiff.header import Header
from service.imagery.tiff.mapped import mapped
from service.imagery.windows import is_scene
from service.offline import s3
from service.offline.sources import SourceFile, SourceTile
from service.pixels import windowed

SENT_BYTES = 100_000_000  # of all files of a tile; 16 million pixels of three bands and 16 bits have 96 MB
MOST_PIXELS = 2**40  # of a scene that is read by windows
MOST_BLOCKS = 2_000_000  # 50 bytes each in the walk over the header
NO_FILES_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT}  # the next would fail as well


@dataclass(frozen=True)
class Opened:
    """A tile at hand; whoever has it closes `held` once it is decoded."""

    tile: SourceTile
    files: tuple[TileFile, ...]
    paths: tuple[Path, ...]  #: of the files
    headers: tuple[Header, ...]
    is_sent: bool  #: decoded whole, as the service does; else window by window
    held: ExitStack

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, of its finest band."""
        finest = max(self.headers, key=lambda about: about.pixels)
        return finest.width, finest.height


def open_tile(tile: SourceTile, spec: InputSpec, options: ReadOptions, folder: Path) -> Opened:
    """Reads, and downloads to `folder`. Raises ImageryError and ServiceError: what is wrong with the tile; OSError for
    what is wrong with this machine, such as a full disk.

    What the service would answer is decoded as it does, to the same warnings; what is larger is read by windows.
    """
    with ExitStack() as held:
        try:
            paths = tuple(_at_hand(file, folder, held) for file in tile.files)
            files = tuple(TileFile(_content(path), file.band) for path, file in zip(paths, tile.files, strict=True))
        except OSError as error:
            if error.errno in NO_FILES_FAULT:
                raise
            code = "source_forbidden" if isinstance(error, PermissionError) else "source_not_found"
            raise ServiceError(code, f"The file cannot be read: {error}.") from None
        limits = by_windows(options).limits
        headers = tuple(header.read(file.data, limits) for file in files)
        opened = Opened(tile, files, paths, headers, True, held.pop_all())
    try:
        return replace(opened, is_sent=_is_sent(opened, spec, options))
    except ImageryError:
        opened.held.close()
        raise


def by_windows(options: ReadOptions) -> ReadOptions:
    """The same without limits to what the whole holds: only windows of it are ever decoded."""
    loose = replace(options.limits, max_pixels=MOST_PIXELS, max_decoded_bytes=MOST_PIXELS * 8, max_blocks=MOST_BLOCKS)
    return replace(options, limits=loose)


def _is_sent(opened: Opened, spec: InputSpec, options: ReadOptions) -> bool:
    _, pixels = windowed(opened.headers, spec.patch_px, options.stride)
    decoded = max(about.decoded_bytes for about in opened.headers)
    if (
        pixels <= options.limits.max_pixels
        and decoded <= options.limits.max_decoded_bytes
        and opened.tile.size <= SENT_BYTES
    ) or not is_scene(*opened.size, spec.patch_px, options.stride):
        return True
    if len({(about.width, about.height) for about in opened.headers}) > 1:
        raise ImageryError(
            "image_too_large",
            f"Band files of different sizes are read whole, up to {options.limits.max_pixels} pixels (MAX_PIXELS): "
            "resample them to the same pixels, or stack them into one file.",
            {"max_pixels": options.limits.max_pixels},
        )
    return False


def _at_hand(file: SourceFile, folder: Path, held: ExitStack) -> Path:
    if not file.place.startswith(s3.SCHEME):
        return Path(file.place)
    path = Path(held.enter_context(tempfile.TemporaryDirectory(dir=folder))) / "object.tif"
    s3.download(file.place, path)
    return path


def _content(path: Path) -> bytes | memoryview:
    return mapped(path) if path.stat().st_size else b""
