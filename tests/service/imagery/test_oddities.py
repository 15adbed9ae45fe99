from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from rasterio.io import MemoryFile

from tests.imagery import RGB, read
from tests.oddities import Oddity, oddities


def by_hand(oddity: Oddity) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """What the documentation says of the pixels, from nothing but a plain read of them."""
    with MemoryFile(oddity.data) as file, file.open() as dataset:
        values = dataset.read()
        if dataset.colorinterp[0].name == "palette":
            colours = np.array([dataset.colormap(1)[index] for index in range(256)])[values[0]].transpose(2, 0, 1)
            return colours[:3].astype(np.uint8), (colours[3] > 0) & (values[0] != dataset.nodata)
        valid = np.isfinite(values).all(axis=0)
        if dataset.nodata is not None and np.isfinite(dataset.nodata):
            valid &= (values != dataset.nodata).all(axis=0)
        if dataset.count == 4:
            valid &= values[3] > 0
        if any(flag.name == "per_dataset" for flag in dataset.mask_flag_enums[0]):
            valid &= dataset.dataset_mask() > 0
        scale, offset = dataset.scales[0], dataset.offsets[0]
    if values.dtype == np.uint8:
        return values[:3], valid
    dn = values[:3].astype(np.float64)
    if (scale, offset) != (1, 0):
        dn = dn * (scale * 10_000) + offset * 10_000
    elif np.issubdtype(values.dtype, np.floating):
        dn = dn * oddity.options.get("scale", 10_000)
    dn = dn + oddity.options.get("boa_offset", 0)
    return np.clip(dn * 255 / RGB.divisor, 0, 255).astype(np.uint8), valid


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.parametrize("oddity", oddities(), ids=lambda oddity: oddity.name)
def test_it_gives_the_pixels_of_a_plain_read_value_by_value(oddity: Oddity) -> None:
    (patch,) = read(oddity.data, **oddity.options)
    pixels, valid = by_hand(oddity)
    assert np.array_equal(patch.valid, valid)
    assert patch.facts.valid_fraction == valid.mean() > 0.5
    assert np.array_equal(patch.pixels[valid], pixels.transpose(1, 2, 0)[valid])
    assert len(np.unique(patch.pixels)) > 20
