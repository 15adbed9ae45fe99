"""Features, as they go out over HTTP and as geopandas reads them."""

from __future__ import annotations

import io

import geopandas
import httpx
import pytest

from tests.conftest import Service
from tests.imagery import geotiff, reflectance

GEOJSON = "application/geo+json"
TILE = geotiff(reflectance(), names=["B04", "B03", "B02"])


def test_every_window_of_a_scene_is_a_feature_that_says_what_json_says(service: Service) -> None:
    scene = geotiff(reflectance(side=250))
    response = service.post(scene, GEOJSON, threshold="0")
    assert (response.status_code, response.headers["content-type"]) == (200, GEOJSON)
    collection, answer = response.json(), service.post(scene, threshold="0").json()
    assert (collection["type"], collection["model"]) == ("FeatureCollection", answer["model"])
    for feature, said in zip(collection["features"], answer["predictions"], strict=True):
        assert (feature["type"], feature["geometry"]) == ("Feature", said["footprint"])
        properties = feature["properties"]
        for name in ("id", "window", "probabilities", "groups", "labels", "valid_fraction", "crs", "warnings"):
            assert properties[name] == said[name]
        told = {**said["groups"], **said["probabilities"]}
        assert (properties["label"], properties["probability"]) == (said["labels"][0], told[said["labels"][0]])
        assert "embedding" not in properties
    frame = geopandas.read_file(io.BytesIO(response.content))
    assert (len(frame), frame.crs.to_epsg(), frame.geometry.is_valid.all()) == (9, 4326, True)


@pytest.mark.parametrize("asked", [{"outputs": "embedding,probabilities"}, {"embedding_dtype": "float16"}])
def test_embeddings_are_there_for_who_asks_for_them(service: Service, asked: dict[str, str]) -> None:
    (feature,) = service.post(TILE, GEOJSON, **asked).json()["features"]
    assert len(feature["properties"]["embedding"]) == 192
    assert "probabilities" in feature["properties"]


def test_what_lies_nowhere_or_was_refused_is_a_feature_without_geometry(service: Service) -> None:
    files = [
        ("a", ("bad.tif", TILE[:500], "image/tiff")),
        ("b", ("bare.tif", geotiff(reflectance(), crs=None, transform=None), "image/tiff")),
    ]
    answer = httpx.post(f"{service.url}/invocations", files=files, headers={"Accept": GEOJSON}).json()
    bad, bare = answer["features"]
    assert (bad["geometry"], bad["properties"]["id"], bad["properties"]["error"]["code"]) == (None, "bad", "truncated")
    assert (bare["geometry"], bare["properties"]["id"]) == (None, "bare")


def test_nothing_over_its_threshold_is_no_label(service: Service) -> None:
    (feature,) = service.post(TILE, GEOJSON, threshold="1").json()["features"]
    assert (feature["properties"]["label"], feature["properties"]["probability"]) == (None, None)


def test_token_embeddings_have_no_place_in_it(service: Service) -> None:
    refused = service.post(TILE, GEOJSON, outputs="token_embeddings")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_option")
