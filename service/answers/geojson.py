"""GeoJSON: a feature for each patch or refused tile."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from service.answers import records
from service.answers.answer import Answer
from service.errors import ServiceError
from service.featurizer import TileResult
from service.formats import geojson
from service.model.artifact import Artifact
from service.options import Options

PROBABILITIES = ("probabilities",)


def to_geojson(results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """See `geojson.collection`. Embeddings are left out unless outputs or embedding_dtype ask for them: no map shows
    hundreds of numbers of a feature, and it would be twenty times as large.

    Raises ServiceError bad_option for token embeddings and pictures.
    """
    if {"token_embeddings", "picture"} & set(options.outputs):
        raise ServiceError("bad_option", "GeoJSON holds embedding and probabilities; ask for others as JSON or npy.")
    if not {"outputs", "embedding_dtype"} & options.model_fields_set:
        options = options.model_copy(update={"outputs": PROBABILITIES})
    features = [record for result in results for record in records.of_tile(result, artifact, options)]
    collection = geojson.collection(features, records.of_model(artifact))
    return Answer(orjson.dumps(collection, option=orjson.OPT_SERIALIZE_NUMPY), "application/geo+json")
