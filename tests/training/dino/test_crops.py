from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as torchvision

from service.imagery.bands import WAVELENGTHS, share_of_haze
from training.dino import crops, looks, resampling
from training.dino.chance import Chance
from training.dino.crops import Views
from training.dino.recipes import OVERHEAD, REFERENCE, Recipe

RGB = ("B04", "B03", "B02")
CPU = torch.device("cpu")
NOTHING = Recipe(False, 0, 0, (0, 0), 0, 0, 0, 0, 0, 0, (0, 0, 0))


def images(count: int = 4, side: int = 64, bands: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, bands), dtype=torch.uint8, generator=torch.manual_seed(0))


def test_crops_have_the_sizes_range_and_order_of_views() -> None:
    big, small = crops.multi_crop(images(), RGB, Views(56, 24, 5), OVERHEAD, Chance(0, CPU))
    assert big.shape == (8, 3, 56, 56)
    assert small.shape == (20, 3, 24, 24)
    for out in (big, small):
        assert out.min() >= 0
        assert out.max() <= 1


def test_the_same_seed_gives_the_same_crops_and_another_others() -> None:
    def drawn(seed: int) -> torch.Tensor:
        return crops.multi_crop(images(), RGB, Views(32, 16, 2), OVERHEAD, Chance(seed, CPU))[0]

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


def test_twelve_bands_pass_through_every_transform() -> None:
    big, _ = crops.multi_crop(images(bands=12), list(WAVELENGTHS)[:12], Views(32, 16, 1), REFERENCE, Chance(0, CPU))
    assert big.shape == (8, 12, 32, 32)
    assert torch.isfinite(big).all()


@pytest.mark.parametrize("box", [(5, 9, 45, 42), (0, 0, 64, 64), (60, 2, 64, 52)])
@pytest.mark.parametrize("size", [24, 96])
def test_a_crop_is_what_pillow_crops_and_resizes(box: tuple[int, int, int, int], size: int) -> None:
    pixels = 100 + images(1)[0].numpy() // 8  # far from 0 and 255, where Pillow clips between its two passes
    image = Image.fromarray(pixels).crop(box).resize((size, size), Image.Resampling.BICUBIC)
    left, top, right, bottom = (torch.tensor([float(edge)]) for edge in box)
    rows = resampling.bicubic_weights(top, bottom - top, 64, size)
    columns = resampling.bicubic_weights(left, right - left, 64, size)
    got = resampling.separable(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), rows, columns)
    assert np.abs(got[0].permute(1, 2, 0).numpy() - np.asarray(image)).max() <= 1.5  # it rounds, too


def test_areas_and_ratios_of_crops_are_those_of_random_resized_crop() -> None:
    """A ramp tells where a crop was: its slope gives the box's size, its mean the place."""
    ramp = torch.arange(64, dtype=torch.float32)
    x = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64), torch.zeros(64, 64)]) / 64
    out = resampling.random_resized_crop(x.expand(4000, -1, -1, -1), 32, (0.05, 0.4), False, Chance(0, CPU))
    width = (out[:, 0, 16, 16:20].diff().mean(-1).abs() * 64 * 32).numpy()
    height = (out[:, 1, 16:20, 16].diff(dim=-1).mean(-1).abs() * 64 * 32).numpy()
    area = width * height / 64**2
    assert area.mean() == pytest.approx(0.225, abs=0.01)
    assert np.quantile(area, [0.1, 0.9]) == pytest.approx([0.085, 0.365], abs=0.02)
    log_ratio = np.log(width / height)
    assert log_ratio.mean() == pytest.approx(0, abs=0.02)
    assert log_ratio.std() == pytest.approx(np.log(16 / 9) / np.sqrt(12), abs=0.02)
    mirrored = (out[:, 0, 0, 0] > out[:, 0, 0, -1]).float().mean()
    assert mirrored == pytest.approx(0.5, abs=0.03)


def test_all_eight_orientations_are_as_likely() -> None:
    quadrants = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).repeat_interleave(32, 0).repeat_interleave(32, 1)[None] / 5
    out = resampling.random_resized_crop(quadrants.expand(4000, -1, -1, -1), 64, (0.8, 1.0), True, Chance(0, CPU))
    corners = (out[:, 0, 2::59, 2::59] * 5).round().numpy().reshape(4000, 4)
    _, counts = np.unique(corners, axis=0, return_counts=True)
    assert len(counts) == 8
    assert counts.min() > 400


def test_hue_is_turned_as_torchvision_turns_it() -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.manual_seed(0))
    for shift in (-0.5, -0.1, 0.0, 0.07, 0.3):
        expected = torchvision.adjust_hue(x, shift)
        assert torch.allclose(looks.turn_hue(x, torch.tensor([shift, shift])), expected, atol=1e-5)


@pytest.mark.parametrize("what", ["brightness", "contrast", "saturation"])
def test_each_jitter_alone_is_torchvisions_with_a_factor_from_its_range(what: str) -> None:
    x = torch.rand(400, 3, 8, 8, generator=torch.manual_seed(0)) * 0.5 + 0.25
    out = looks.colour_jitter(x, replace(NOTHING, **{what: 0.3}), Chance(0, CPU))
    adjust = getattr(torchvision, f"adjust_{what}")
    one, two = adjust(x, 1.0), adjust(x, 1.2)
    factor = 1 + 0.2 * ((out - one) * (two - one)).sum((1, 2, 3)) / (two - one).square().sum((1, 2, 3))
    untouched = (out == x).flatten(1).all(1).float().mean()
    assert untouched == pytest.approx(0.2, abs=0.06)
    assert 0.7 - 1e-3 <= factor.min() < 0.73
    assert 1.27 < factor.max() <= 1.3 + 1e-3
    i = int(factor.argmax())
    assert torch.allclose(out[i], adjust(x[i], float(factor[i])), atol=1e-3)


def test_blur_is_pillows_in_its_middle_and_off_where_it_should_be() -> None:
    x = torch.zeros(500, 1, 33, 33)
    x[:, :, 16, 16] = 1
    out = looks.random_blur(x, 0.5, Chance(0, CPU))
    touched = (out[:, 0, 16, 16] < 1 - 1e-6).float().mean()
    assert touched == pytest.approx(0.5, abs=0.1)  # the weakest blurs change nothing that shows
    assert torch.allclose(out.sum((1, 2, 3)), torch.ones(500), atol=1e-3)
    at = torch.arange(33) - 16.0
    variance = (out[:, 0].sum(1) * at**2).sum(-1)
    assert variance.max() == pytest.approx(4, abs=0.2)  # sigma up to 2


def test_solarize_inverts_what_is_bright() -> None:
    x = torch.tensor([0.0, 0.4, 127 / 255, 128 / 255, 1.0]).view(1, 1, 1, 5)
    assert torch.allclose(looks.solarize(x, 1.0, Chance(0, CPU)), torch.tensor([0.0, 0.4, 127 / 255, 127 / 255, 0.0]))


def test_gain_and_offset_are_drawn_for_each_band() -> None:
    x = torch.full((2000, 2, 2, 2), 0.5)
    x[:, :, 0, 0] = 0.25
    out = looks.gain_and_offset(x, 0.2, 0.1, Chance(0, CPU))
    gain = (out[..., 1, 1] - out[..., 0, 0]) * 4
    assert (out == x).flatten(1).all(1).float().mean() == pytest.approx(0.2, abs=0.03)
    assert gain.log().abs().max() <= 0.2 + 1e-4
    assert np.corrcoef(gain.T.numpy())[0, 1] < 0.1


def test_haze_is_blue_and_the_same_all_over_an_image() -> None:
    x = torch.full((2000, 4, 2, 2), 0.5)
    bands = (*RGB, "radar")
    out = looks.haze(x, (-0.3, 0.1), torch.tensor(share_of_haze(bands)), Chance(0, CPU))
    assert (out == x).flatten(1).all(1).float().mean() == pytest.approx(0.5, abs=0.03)
    red, green, blue, radar = ((out - x)[:, band] for band in range(4))
    assert torch.equal(blue, blue[:, :1, :1].expand(-1, 2, 2))
    assert -0.3 <= blue.min() < -0.29
    assert 0.09 < blue.max() <= 0.1 + 1e-6
    assert torch.allclose(green, blue * (490 / 560) ** 4, atol=1e-6)
    assert torch.allclose(red, blue * (490 / 665) ** 4, atol=1e-6)
    assert not radar.any()


def test_grey_is_pillows_luma() -> None:
    pixels = images(1)[0]
    expected = np.asarray(Image.fromarray(pixels.numpy()).convert("L")).astype(float) / 255
    got = looks.random_grey(pixels.permute(2, 0, 1)[None].float() / 255, 1.0, Chance(0, CPU))
    assert np.abs(got[0, 1].numpy() - expected).max() < 1.5 / 255
