from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.answers.negotiation import ENCODERS
from service.answers.pictures import to_png
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from tests.conftest import TINY, Service
from tests.imagery import RGB, geotiff, reflectance

CHANCE = np.random.default_rng(0)
PIXELS = CHANCE.integers(0, 256, (5, 7, 4), np.uint8)


def pixels_of(picture: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)), formats=["PNG"]))


def test_a_picture_is_what_the_model_saw(service: Service) -> None:
    scene = geotiff(reflectance(side=240))
    answer = service.post(scene, outputs="embedding,picture")
    patches = read_tile([TileFile(scene)], RGB, ReadOptions())
    assert len(patches) == 4
    for patch, prediction in zip(patches, answer.json()["predictions"], strict=True):
        assert (pixels_of(prediction["picture"]) == resize(patch.pixels, TINY.image_size)).all()


def test_a_picture_is_there_only_where_it_is_asked_for(service: Service) -> None:
    (prediction,) = service.post(geotiff(reflectance())).json()["predictions"]
    assert "picture" not in prediction


def test_each_line_brings_its_pictures(service: Service) -> None:
    (line,) = service.post(geotiff(reflectance()), accept="application/jsonlines", outputs="picture").text.splitlines()
    assert '"picture":"' in line


@pytest.mark.parametrize("accept", sorted(ENCODERS.keys() - {"application/json", "application/jsonlines"}))
@pytest.mark.parametrize("outputs", ["picture", "embedding,picture"])
def test_what_has_no_place_for_a_picture_says_so(service: Service, accept: str, outputs: str) -> None:
    answer = service.post(geotiff(reflectance()), accept=accept, outputs=outputs)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_option")


def test_the_type_of_embeddings_is_refused_where_there_are_none(service: Service) -> None:
    answer = service.post(geotiff(reflectance()), outputs="probabilities,picture", embedding_dtype="int8")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_option")


@pytest.mark.parametrize(
    ("bands", "shown"),
    [
        (("B02", "B03", "B04", "B08"), [2, 1, 0]),
        (("blue", "green", "red", "nir"), [2, 1, 0]),
        (("B08", "B11", "B12", "B05"), [0, 1, 2]),
    ],
)
def test_a_picture_has_true_colour_where_the_model_reads_it(bands: tuple[str, ...], shown: list[int]) -> None:
    assert (pixels_of(to_png(PIXELS, bands)) == PIXELS[..., shown]).all()


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_bands_make_a_grey_picture(count: int) -> None:
    picture = pixels_of(to_png(PIXELS[..., :count], ("VV", "VH")[:count]))
    assert (picture == PIXELS[..., 0]).all()
