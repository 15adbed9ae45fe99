"""What FastAPI cannot see by itself: bodies, options and error codes of /invocations."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer

from service.answers.answer import MediaType
from service.answers.negotiation import ENCODERS
from service.bodies.body import JSON, JSON_LINES, MULTIPART, TIFF_TYPES
from service.bodies.instances import Instance
from service.errors import STATUS
from service.options import Options

BINARY = {"schema": {"type": "string", "format": "binary"}}
PING: dict[int | str, dict[str, Any]] = {
    200: {"description": "Ready, and known to work", "content": {}},
    503: {"description": "Loading, draining or broken"},
}


def _parameters() -> list[dict[str, Any]]:
    described = []
    for name, schema in Options.model_json_schema()["properties"].items():
        about = schema.pop("description", "")
        is_list = schema.get("type") == "array" or any(one.get("type") == "array" for one in schema.get("anyOf", ()))
        described.append(
            {
                "name": name,
                "in": "query",
                "description": about,
                "schema": {"type": "string"} if is_list else schema,
                "required": False,
            }
        )
    return described


PROBLEM: dict[str, Any] = {
    "type": "object",
    # Tuples, as FastAPI joins lists of a status that is told of a route and of all: each name would be there twice.
    "required": ("type", "title", "status", "code", "detail"),
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": tuple(sorted(STATUS))},
        "detail": {"type": "string", "description": "One sentence that says what to do"},
        "limits": {"type": "object", "description": "The limit that was broken"},
        "retry_after_s": {"type": "number", "description": "Seconds after which to come back"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Every tile, if all were refused"},
        "id": {"type": "string", "description": "Of an internal error: what to look up in the log"},
    },
}


def _problem(*codes: str) -> dict[str, Any]:
    return {
        "description": "Problem with the code " + ", ".join(codes),
        "content": {"application/problem+json": {"schema": PROBLEM}},
    }


def _problems() -> dict[str, Any]:
    by_status = groupby(sorted(STATUS, key=lambda code: STATUS[code]), key=lambda code: STATUS[code])
    return {str(status): _problem(*sorted(codes)) for status, codes in by_status}


#: What a connection is told, whatever it asks for.
ANY_ROUTE: dict[int | str, dict[str, Any]] = {
    STATUS[code]: _problem(code) for code in ("bad_request", "receive_timeout", "headers_too_large")
}
#: Of a route that needs one of API_KEYS. `callers.keys` looks at the key; these describe it.
LOCKED: dict[str, Any] = {
    "responses": {STATUS["unauthorized"]: _problem("unauthorized")},
    "dependencies": [
        Security(HTTPBearer(auto_error=False)),
        Security(APIKeyHeader(name="X-API-Key", auto_error=False)),
    ],
}

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_FOOTPRINT = {
    "type": ["object", "null"],
    "description": "GeoJSON Polygon, WGS 84 longitude/latitude, or a MultiPolygon where the antimeridian is crossed; "
    "null without georeference",
}
PREDICTION: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {
            "type": "string",
            "description": "The instance's, file name's stem or position; windows of a scene share it",
        },
        "window": {"type": "array", "items": {"type": "integer"}, "description": "Column, row, width, height"},
        "embedding": {**_NUMBERS, "description": "Normed cls token of the last block"},
        "embedding_scale": {"type": "number", "description": "With int8: value = sign(code)·(code/127)²·scale"},
        "token_embeddings": {
            "type": "object",
            "description": "rows × columns × dim as base64 of little-endian float16",
        },
        "picture": {
            "type": "string",
            "description": "PNG in base64 of the 8-bit pixels that the model saw: red, green and blue, else its first "
            "bands",
        },
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": ["number", "null"]},
            "description": "Of every label; null where this model cannot tell",
        },
        "groups": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "That at least one member is there",
        },
        "labels": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Labels and groups over their thresholds",
        },
        "valid_fraction": {"type": "number", "description": "Share of pixels with data"},
        "crs": {"type": ["string", "null"], "description": "The tile's: EPSG:32633, or WKT"},
        "transform": {
            "type": ["array", "null"],
            "items": {"type": "number"},
            "description": "From column and row in the window to crs: x = a·column + b·row + c, "
            "y = d·column + e·row + f, as a, b, c, d, e, f; null without georeference",
        },
        "footprint": _FOOTPRINT,
        "radiometry": {"type": "object", "description": "What turned file values into pixels"},
        "warnings": {"type": "array", "items": {"type": "object"}},
        "error": {
            "type": "object",
            "description": "In place of all else: why this tile was refused",
            "required": ["code", "detail"],
            "properties": {name: PROBLEM["properties"][name] for name in ("code", "detail", "limits", "retry_after_s")},
        },
    },
}
ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["model", "predictions"],
    "properties": {
        "model": {"type": "object", "properties": {name: {"type": "string"} for name in ("name", "version", "sha256")}},
        "predictions": {"type": "array", "items": PREDICTION},
    },
}
_LINE: dict[str, Any] = {
    "description": "A line for each tile, in order: for a scene all its windows, for a refused tile its error. "
    "What JSON Lines are answered with unless something else is asked for",
    "type": "object",
    "required": ["id", *ANSWER["required"]],
    "properties": {"id": PREDICTION["properties"]["id"], **ANSWER["properties"]},
}
#: RFC 7946, whose schema is not repeated here.
_FEATURES: dict[str, Any] = {
    "type": "object",
    "required": ["type", "model", "features"],
    "description": "A feature for each patch or refused tile: its footprint, and as properties what JSON says, without "
    "the embedding unless outputs or embedding_dtype ask for it; label and probability are the likeliest over its "
    "threshold",
    "properties": {
        "type": {"const": "FeatureCollection"},
        "model": ANSWER["properties"]["model"],
        "features": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "geometry", "properties"],
                "properties": {
                    "type": {"const": "Feature"},
                    "geometry": _FOOTPRINT,
                    "properties": {"type": "object", "required": ["id"]},
                },
            },
        },
    },
}
_ANSWERS: dict[MediaType, dict[str, Any]] = {
    "application/json": {"schema": ANSWER},
    "application/jsonlines": {"schema": _LINE},
    "application/x-npy": {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "One array, a row for each patch. It has no place for an error: a refused tile fails it",
        }
    },
    "application/geo+json": {"schema": _FEATURES},
    "image/tiff": {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "Of one tile with a georeference: a cloud-optimized GeoTIFF with a cell for each patch and "
            "a band for each label, then for each group that stands for labels the model cannot tell; probability × "
            "250, 255 for no data",
        }
    },
    "application/vnd.apache.parquet": {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "GeoParquet 1.1, a row for each patch or refused tile; columns named as in JSON, "
            "with the footprint as geometry",
        }
    },
}
_INSTANCE = {
    **Instance.model_json_schema(),
    "description": "With exactly one of image, s3_uri and bands",
}
_INSTANCES: dict[str, Any] = {
    "type": "object",
    "required": ["instances"],
    "additionalProperties": False,
    "properties": {
        "instances": {"type": "array", "minItems": 1, "items": _INSTANCE},
        "options": {"type": "object", "description": "Of the same names as the query parameters"},
    },
}
_FORM = {"schema": {"type": "object", "additionalProperties": {"type": "string", "format": "binary"}}}
INVOCATIONS: dict[str, Any] = {
    "parameters": _parameters(),
    "requestBody": {
        "required": True,
        "description": "One GeoTIFF, or a form of several, or a form of single-band files of one or more tiles, or "
        "instances as JSON or one a line. "
        "Options may also be parameters of the media type, or JSON in X-Amzn-SageMaker-Custom-Attributes.",
        "content": {
            **dict.fromkeys(TIFF_TYPES, BINARY),
            MULTIPART: _FORM,
            JSON: {"schema": _INSTANCES},
            JSON_LINES: {
                "schema": {**_INSTANCE, "description": "One a line, with exactly one of image, s3_uri, bands"}
            },
        },
    },
    "responses": {
        "200": {
            "description": "One prediction for each patch, or an error in place of a refused tile: if others were "
            "served, and with BATCH_ERRORS=record, the default in batch transform, even if none was",
            "content": {media_type: _ANSWERS[media_type] for media_type in ENCODERS},
        },
        **_problems(),
    },
}
