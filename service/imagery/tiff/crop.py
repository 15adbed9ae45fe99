"""A window of a dataset that looks like a dataset of its own: whoever reads one reads the other."""

from __future__ import annotations

from typing import Any

from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader
from rasterio.windows import Window

from service.imagery.errors import ImageryError


class Crop:
    """The pixels of `window` (column, row, width, height), at full resolution. Raises ImageryError bad_option."""

    def __init__(self, dataset: DatasetReader, window: tuple[int, int, int, int]) -> None:
        column, row, self.width, self.height = window
        if min(column, row) < 0 or column + self.width > dataset.width or row + self.height > dataset.height:
            detail = f"The window {window} lies outside the image of {dataset.width} × {dataset.height} pixels."
            raise ImageryError("bad_option", detail)
        self._dataset, self._window, self.shape = dataset, Window(*window), (self.height, self.width)
        self.transform = dataset.transform
        if self.transform != Affine.identity():  # which stands for none
            self.transform = dataset.transform @ Affine.translation(column, row)

    def read(self, indexes: list[int]) -> NDArray[Any]:
        """C × H × W, of the bands with these numbers (from 1)."""
        values: NDArray[Any] = self._dataset.read(indexes, window=self._window)
        return values

    def read_masks(self, indexes: list[int]) -> NDArray[Any]:
        """C × H × W, 0 where a band holds no data."""
        masks: NDArray[Any] = self._dataset.read_masks(indexes, window=self._window)
        return masks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)
