"""Multi-crop augmentation, ours in batches of tensors against the reference's pipeline of PIL images, on one core.

    python -m tests.benchmarks.crops [--rounds 5] [--images 32]

The pipeline is built here from torchvision's transforms and Pillow as the DINO paper describes it: two crops of 224 px
and eight of 96 px, flip, colour jitter, grey, blur, solarize, normalised. Both get the same uint8 images of 120 px, are
timed in turns, and give float32 crops. With CUDA, ours runs there, against one core for the pipeline.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms

from training.device import fastest_dtype, keep_memory
from training.dino.chance import Chance
from training.dino.crops import Views, multi_crop
from training.dino.recipes import REFERENCE

BANDS = ("B04", "B03", "B02")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pil_pipeline() -> Callable[[Image.Image], list[torch.Tensor]]:
    """All crops of one image."""
    looks = [
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
        transforms.RandomGrayscale(0.2),
    ]
    tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]

    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))

    def crop(size: int, scale: tuple[float, float], blurred: float, solarized: float = 0.0) -> transforms.Compose:
        cut = transforms.RandomResizedCrop(size, scale, interpolation=transforms.InterpolationMode.BICUBIC)
        last = [transforms.RandomApply([blur], blurred), transforms.RandomApply([ImageOps.solarize], solarized)]
        return transforms.Compose([cut, *looks, *last, *tensor])

    big, small = (0.4, 1.0), (0.05, 0.4)
    crops = [crop(224, big, 1.0), crop(224, big, 0.1, 0.2), *[crop(96, small, 0.5)] * 8]
    return lambda image: [one(image) for one in crops]


def images_a_second(work: Callable[[], object], images: int) -> float:
    """Of one call."""
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return images / (time.perf_counter() - started)


def main() -> None:
    """Times both in turns and prints the ratio of their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="a call")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (asked.images, 120, 120, 3), np.uint8)
    pictures, tensor, pipeline = [Image.fromarray(one) for one in pixels], torch.from_numpy(pixels), pil_pipeline()
    tensor, dtype = tensor.to(device), fastest_dtype()
    keep_memory()

    def ours() -> object:
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
            return multi_crop(tensor, BANDS, Views(), REFERENCE, Chance(0, device), MEAN, STD)

    def theirs() -> object:
        return [pipeline(picture) for picture in pictures]

    ours(), theirs()
    found = [(images_a_second(ours, asked.images), images_a_second(theirs, asked.images)) for _ in range(asked.rounds)]
    ratios = sorted(a / b for a, b in found)
    a, b = (statistics.median(rates) for rates in zip(*found, strict=True))
    print(f"ours on {device.type}, {dtype}: {a:.1f} images/s; PIL on one core: {b:.1f} images/s")
    print(f"ratio {a / b:.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f} in single rounds")


if __name__ == "__main__":
    main()
