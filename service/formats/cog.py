"""Land cover as cloud-optimized GeoTIFF: a cell for each patch, in the reference system of the tile.

`write` makes one band a label, `write_classes` one band of classes. GDAL writes them, imported where it is used:
https://gdal.org/en/stable/drivers/raster/cog.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from service.formats import colours
from service.imagery.errors import ImageryError

STEPS = 250  # a probability is this many parts of one; 255 is left for no data
NO_DATA = 255
CREATION = {"compress": "DEFLATE", "blocksize": 256, "num_threads": 1}

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """The cells of the map of one tile."""

    crs: str  #: "EPSG:32633", or WKT
    transform: Affine  #: cell (column, row) to `crs`
    columns: int
    rows: int
    step: tuple[int, int]  #: pixels from a cell to the next, across and down

    @classmethod
    def of(cls, record: Record, width: int, height: int, stride: int | None = None) -> Self:
        """The grid of a tile of `width` × `height` pixels, from the record of any of its windows.

        Windows lie `stride` pixels apart, or side by side. A cell is the middle of its window, as large as the stride:
        the whole window where they lie side by side. The last windows of a scene are shifted inwards, their cells are
        not: what of such a cell lies within the tile is what its window adds to the one before, the rest lies beyond
        the edge. Raises ImageryError no_georeference.
        """
        if not record.get("transform") or not record.get("crs"):
            raise ImageryError(
                "no_georeference",
                "A map needs a reference system and a transform, which the image has not; write them into the file "
                "(gdal_edit.py -a_srs … -a_ullr …), or ask for JSON or GeoParquet.",
            )
        column, row, *size = record["window"]
        steps, counts, offsets = [], [], []
        for length, window in zip((width, height), size, strict=True):
            step = stride if stride and length > window else window
            steps.append(step)
            counts.append(1 + -(-(length - window) // step))
            offsets.append((window - step) / 2)
        of_tile = Affine(*record["transform"]) @ Affine.translation(-column, -row)
        transform = of_tile @ Affine.translation(*offsets) @ Affine.scale(*steps)
        return cls(record["crs"], transform, counts[0], counts[1], (steps[0], steps[1]))

    def place(self, window: Sequence[int]) -> tuple[int, int]:
        """Row and column of the cell of a window, which may be shifted inwards."""
        return -(-window[1] // self.step[1]), -(-window[0] // self.step[0])


def write(file: Path | BinaryIO, records: Iterable[Record], names: Sequence[str], grid: Grid) -> None:
    """The probability of each of `names` (labels or groups) as a band: uint8 in steps of 1/250, 255 for no data.

    Scale tags of 1/250 have readers get probabilities. A cell without a record, and what the model cannot tell, hold
    no data.
    """
    cells = np.full((len(names), grid.rows, grid.columns), NO_DATA, np.uint8)
    for record in records:
        cells[:, *grid.place(record["window"])] = [
            NO_DATA if p is None else round(p * STEPS) for p in _probabilities(record, names)
        ]
    _save(file, cells, grid, names, overviews="AVERAGE", nodata=NO_DATA, scale=1 / STEPS)


def write_classes(file: Path | BinaryIO, records: Iterable[Record], legend: Mapping[str, str], grid: Grid) -> None:
    """The likeliest of the names in `legend` as its position there, with a colour table; see `colours.legend`.

    GDAL keeps the names of classes outside the file (.aux.xml), so they are in its metadata, as JSON in the words of
    STAC's classification extension, and in the style for QGIS (`formats.qgis`).
    """
    names = list(legend)
    dtype, no_data = (np.uint8, NO_DATA) if len(names) <= NO_DATA else (np.uint16, 2**16 - 1)
    cells = np.full((1, grid.rows, grid.columns), no_data, dtype)
    for record in records:
        told = [-1.0 if p is None else p for p in _probabilities(record, names)]
        if max(told) >= 0:
            cells[0, *grid.place(record["window"])] = told.index(max(told))
    table = {i: colours.components(colour) for i, colour in enumerate(legend.values())}
    classes = [
        {"value": i, "name": name, "color_hint": colour[1:].upper()} for i, (name, colour) in enumerate(legend.items())
    ]
    tags = {"classes": json.dumps(classes)}
    _save(file, cells, grid, ["likeliest land cover"], overviews="MODE", nodata=no_data, table=table, tags=tags)


def _probabilities(record: Record, names: Sequence[str]) -> list[float | None]:
    """Of labels and groups alike; None where the model cannot tell, or was not asked to (top_k)."""
    told = {**(record.get("groups") or {}), **record["probabilities"]}
    return [told.get(name) for name in names]


def _save(
    file: Path | BinaryIO,
    cells: NDArray[Any],
    grid: Grid,
    names: Sequence[str],
    *,
    overviews: str,
    nodata: int,
    scale: float | None = None,
    table: Mapping[int, colours.Colour] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """`cells` are bands × rows × columns, `names` describe the bands. Raises ImageryError no_georeference."""
    import rasterio
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    try:
        crs = CRS.from_user_input(grid.crs)
    except CRSError:
        detail = "GDAL does not understand the image's reference system; write it again, by an EPSG code."
        raise ImageryError("no_georeference", detail) from None
    bands, rows, columns = cells.shape
    shape = {"count": bands, "height": rows, "width": columns, "dtype": cells.dtype, "nodata": nodata}
    place = {"crs": crs, "transform": grid.transform}
    with (
        rasterio.Env(GDAL_PAM_ENABLED="NO"),  # no file beside it
        rasterio.open(file, "w", driver="COG", **shape, **place, **CREATION, overview_resampling=overviews) as dataset,
    ):
        dataset.write(cells)
        for i, name in enumerate(names, start=1):
            dataset.set_band_description(i, name)
        if scale is not None:
            dataset.scales = [scale] * bands
        if table is not None:
            dataset.write_colormap(1, table)
        dataset.update_tags(**(tags or {}))
