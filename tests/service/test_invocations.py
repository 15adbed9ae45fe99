from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import numpy as np
import pytest

from service.cpus import usable_cpus
from service.imagery.patches import ReadOptions, TileFile
from service.imagery.reader import read_tile
from service.imagery.resize import resize
from service.model.artifact import Artifact
from service.model.engine import choose
from tests.conftest import Service
from tests.imagery import geotiff, reflectance

TILE = geotiff(reflectance(), names=["B04", "B03", "B02"])


def one(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["predictions"]
    return dict(prediction)


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    said = response.json()
    assert said["status"] == response.status_code
    assert said["detail"]
    return dict(said)


def test_a_geotiff_is_answered_with_everything_the_contract_names(service: Service, tiny_artifact: Artifact) -> None:
    response = service.post(TILE)
    assert response.json()["model"] == {"name": "tiny", "version": "1", "sha256": tiny_artifact.sha256}
    prediction = one(response)
    assert set(prediction) == {
        *("id", "window", "embedding", "probabilities", "groups", "labels", "valid_fraction"),
        *("crs", "transform", "footprint", "radiometry", "warnings"),
    }
    assert prediction["id"] == "0"
    assert prediction["window"] == [0, 0, 120, 120]
    assert list(prediction["probabilities"]) == ["field", "town", "lake", "sea", "desert"]
    assert [name for name, p in prediction["probabilities"].items() if p is None] == ["lake", "sea", "desert"]
    assert 0 <= prediction["groups"]["Water (any)"] <= 1
    assert prediction["crs"] == "EPSG:32633"
    assert prediction["footprint"]["type"] == "Polygon"
    assert prediction["radiometry"] == {"divisor": 2000, "boa_offset": 0, "scale": 1, "bands": ["B04", "B03", "B02"]}
    assert prediction["valid_fraction"] == 1
    assert prediction["warnings"] == []


def test_the_embedding_is_the_engines_for_the_patch_that_the_reader_reads(
    service: Service, tiny_artifact: Artifact
) -> None:
    (patch,) = read_tile([TileFile(TILE)], tiny_artifact.manifest.input.spec, ReadOptions())
    expected = choose(tiny_artifact, 1, "openvino-fp32").each[0].run(resize(patch.pixels, 32)[None]).embeddings[0]
    assert np.allclose(one(service.post(TILE))["embedding"], expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["image/tiff", "image/geotiff", "application/octet-stream", "IMAGE/TIFF"])
def test_media_types_of_a_geotiff(service: Service, kind: str) -> None:
    assert one(service.post(TILE, kind=kind))["id"] == "0"


def test_options_may_be_parameters_of_the_media_type_or_custom_attributes(service: Service) -> None:
    by_type = service.post(TILE, kind="image/tiff; outputs=probabilities; threshold=0")
    headers = {
        "Content-Type": "image/tiff",
        "X-Amzn-SageMaker-Custom-Attributes": json.dumps({"outputs": "probabilities", "threshold": 0}),
    }
    by_attributes = httpx.post(f"{service.url}/invocations", content=TILE, headers=headers, timeout=60)
    assert one(by_type) == one(by_attributes)
    assert "embedding" not in one(by_type)
    assert set(one(by_type)["labels"]) == {"field", "town", "Water (any)"}


def test_npy_holds_the_embeddings(service: Service) -> None:
    response = service.post(TILE, accept="application/x-npy")
    embeddings = np.load(io.BytesIO(response.content))
    assert embeddings.shape == (1, 192)
    assert embeddings.dtype == np.float32
    assert np.allclose(embeddings[0], one(service.post(TILE))["embedding"], atol=1e-6)
    assert (
        np.load(io.BytesIO(service.post(TILE, "application/x-npy", embedding_dtype="float16").content)).dtype == "<f2"
    )


def test_int8_embeddings_come_with_the_scale_that_brings_them_back(service: Service) -> None:
    exact = np.asarray(one(service.post(TILE))["embedding"])
    said = one(service.post(TILE, embedding_dtype="int8"))
    codes = np.asarray(said["embedding"])
    back = np.sign(codes) * (codes / 127) ** 2 * said["embedding_scale"]
    assert back @ exact / np.linalg.norm(back) / np.linalg.norm(exact) > 0.9995
    response = service.post(TILE, "application/x-npy", embedding_dtype="int8")
    assert np.array_equal(np.load(io.BytesIO(response.content))[0], codes)
    assert response.headers["content-type"] == f"application/x-npy; embedding_scale={said['embedding_scale']!r}"


def test_token_embeddings(service: Service) -> None:
    said = one(service.post(TILE, outputs="token_embeddings"))["token_embeddings"]
    tokens = np.frombuffer(base64.b64decode(said["base64"]), "<f2").reshape(said["shape"])
    assert tokens.shape == (4, 4, 192)
    array = np.load(io.BytesIO(service.post(TILE, "application/x-npy", outputs="token_embeddings").content))
    assert np.allclose(array[0], tokens, atol=0.01)
    both = service.post(TILE, "application/x-npy", outputs="embedding,token_embeddings")
    assert problem(both)["code"] == "bad_option"


def test_top_k_keeps_the_likeliest(service: Service) -> None:
    everything = one(service.post(TILE))["probabilities"]
    likeliest = max((name for name in everything if everything[name] is not None), key=everything.__getitem__)
    assert one(service.post(TILE, top_k="1"))["probabilities"] == {likeliest: everything[likeliest]}


def test_a_scene_is_answered_window_by_window(service: Service) -> None:
    response = service.post(geotiff(reflectance(side=250)))
    predictions = response.json()["predictions"]
    assert [p["window"][:2] for p in predictions] == [[c, r] for r in (0, 120, 130) for c in (0, 120, 130)]
    assert {p["id"] for p in predictions} == {"0"}
    lone = one(service.post(geotiff(reflectance(side=250)[:, 130:, 130:])))
    assert np.allclose(predictions[-1]["embedding"], lone["embedding"], atol=1e-4)


def test_band_files_in_a_form_are_one_tile(service: Service) -> None:
    values = reflectance()
    files = [
        ("file", (f"S2A_1_2_{band}.tif", geotiff(values[i : i + 1]), "image/tiff"))
        for i, band in enumerate(("B04", "B03", "B02"))
    ]
    response = httpx.post(f"{service.url}/invocations", files=files, timeout=60)
    assert one(response)["id"] == "S2A_1_2"
    assert np.allclose(one(response)["embedding"], one(service.post(TILE))["embedding"], atol=1e-4)


def test_of_several_tiles_each_is_judged_alone(service: Service) -> None:
    files = [
        ("a", ("good.tif", TILE, "image/tiff")),
        ("b", ("bad.tif", TILE[:500], "image/tiff")),
        ("c", ("scene.tif", geotiff(reflectance(side=240)), "image/tiff")),
    ]
    response = httpx.post(f"{service.url}/invocations", files=files, timeout=60)
    assert response.status_code == 200
    good, bad, *scene = response.json()["predictions"]
    assert good["id"] == "good"
    assert bad == {"id": "bad", "error": {"code": "truncated", "detail": bad["error"]["detail"]}}
    assert [p["id"] for p in scene] == ["scene"] * 4
    as_npy = httpx.post(f"{service.url}/invocations", files=files, headers={"Accept": "application/x-npy"}, timeout=60)
    assert problem(as_npy)["code"] == "truncated"


def test_if_every_tile_is_refused_the_first_reason_is_the_answer(service: Service) -> None:
    files = [("a", ("one.tif", b"", "image/tiff")), ("b", ("two.tif", TILE[:500], "image/tiff"))]
    said = problem(httpx.post(f"{service.url}/invocations", files=files, timeout=60))
    assert (said["status"], said["code"]) == (400, "empty_body")
    assert [(e["id"], e["code"]) for e in said["errors"]] == [("one", "empty_body"), ("two", "truncated")]


NAN = np.full((3, 120, 120), np.nan, np.float32)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty_body"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 415, "not_a_tiff"),
        (TILE[: len(TILE) // 2], 422, "truncated"),
        (geotiff(reflectance(bands=2)), 422, "band_count"),
        (geotiff(reflectance(bands=4)), 422, "band_mapping_required"),
        (geotiff(NAN), 422, "no_valid_pixels"),
        (geotiff(reflectance(side=7)), 422, "too_small"),
        (geotiff(reflectance().astype(np.complex64)), 415, "unsupported_dtype"),
        (geotiff(reflectance().astype(np.float32)), 422, "scale_ambiguous"),
    ],
)
def test_a_bad_tile_gets_its_status_and_code_and_the_next_is_served(
    service: Service, body: bytes, status: int, code: str
) -> None:
    said = problem(service.post(body))
    assert (said["status"], said["code"]) == (status, code)
    assert one(service.post(TILE))["id"] == "0"


def test_what_is_asked_for_in_a_wrong_way_is_refused(service: Service) -> None:
    assert problem(service.post(TILE, kind="image/png"))["code"] == "unsupported_media_type"
    assert problem(service.post(TILE, kind=""))["code"] == "unsupported_media_type"
    accept = problem(service.post(TILE, accept="text/html"))
    assert (accept["status"], accept["code"]) == (406, "not_acceptable")
    assert "application/json" in accept["detail"]
    assert problem(service.post(TILE, colour="red"))["code"] == "bad_option"
    assert problem(service.post(TILE, require_geo="1", kind="image/tiff;require_geo=0"))["code"] == "bad_option"
    bare = geotiff(reflectance(), crs=None, transform=None)
    assert problem(service.post(bare, require_geo="true"))["code"] == "no_georeference"
    form = service.post(b"nothing", kind="multipart/form-data; boundary=x")
    assert problem(form)["status"] == 400
    assert problem(service.get("/invocations"))["code"] == "method_not_allowed"
    assert problem(service.get("/nowhere"))["code"] == "not_found"


def test_other_accepts_are_negotiated(service: Service) -> None:
    assert service.post(TILE, accept="*/*").headers["content-type"] == "application/json"
    assert (
        service.post(TILE, accept="text/html, application/x-npy;q=0.5").headers["content-type"] == "application/x-npy"
    )


def test_a_body_over_the_limit_is_refused_announced_or_not(service: Service) -> None:
    large = bytes(26_000_000)
    assert problem(service.post(large))["code"] == "body_too_large"
    chunked = (large[i : i + 1_000_000] for i in range(0, len(large), 1_000_000))
    response = httpx.post(
        f"{service.url}/invocations", content=chunked, headers={"Content-Type": "image/tiff"}, timeout=60
    )
    assert problem(response)["code"] == "body_too_large"
    assert one(service.post(TILE))["id"] == "0"


def test_what_sagemaker_asks_for_is_answered(service: Service) -> None:
    ping = service.get("/ping")
    assert (ping.status_code, ping.content) == (200, b"")
    parameters = service.get("/execution-parameters").json()
    assert parameters == {"MaxConcurrentTransforms": 16, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}


def test_metrics_count_what_happened(service: Service) -> None:
    def count(line: str) -> float:
        text = service.get("/metrics").text
        return next((float(row.split()[-1]) for row in text.splitlines() if row.startswith(line)), 0.0)

    names = ('aerial_requests_total{code="ok"}', "aerial_patches_total", 'aerial_requests_total{code="truncated"}')
    before = [count(name) for name in names]
    service.post(geotiff(reflectance(side=240)))
    service.post(TILE[:500])
    assert [count(name) for name in names] == [before[0] + 1, before[1] + 4, before[2] + 1]


def test_the_model_card_says_what_is_served(service: Service, tiny_artifact: Artifact) -> None:
    card = service.get("/model").json()
    assert card["properties"]["aerial:sha256"] == tiny_artifact.sha256
    assert card["properties"]["aerial:engine"] == choose(tiny_artifact, usable_cpus(), "openvino-fp32").name
    assert card["properties"]["aerial:manifest"] == tiny_artifact.manifest.model_dump(mode="json")


def test_the_openapi_names_every_media_type_option_and_error_code(service: Service) -> None:
    from service.errors import STATUS
    from service.options import Options

    operation = service.get("/openapi.json").json()["paths"]["/invocations"]["post"]
    bodies = {"image/tiff", "multipart/form-data", "application/json", "application/jsonlines"}
    assert bodies <= set(operation["requestBody"]["content"])
    assert {p["name"] for p in operation["parameters"]} == set(Options.model_fields)
    assert set(operation["responses"]["200"]["content"]) == {
        *("application/json", "application/jsonlines", "application/x-npy"),
        *("application/geo+json", "application/vnd.apache.parquet", "image/tiff"),
    }
    for code, status in STATUS.items():
        assert code in operation["responses"][str(status)]["description"]
    assert service.get("/docs").status_code == 200
