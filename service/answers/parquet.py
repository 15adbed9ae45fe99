"""GeoParquet: a row for each patch or refused tile."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from service.answers import records
from service.answers.answer import Answer
from service.errors import ServiceError
from service.featurizer import TileResult
from service.model.artifact import Artifact
from service.options import Options

if TYPE_CHECKING:
    import pyarrow as pa


def to_parquet(results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """The columns of `schema`. Raises ServiceError bad_option for token embeddings and pictures."""
    from service.formats import geoparquet

    columns = schema(artifact, options)
    rows = [record for result in results for record in records.of_tile(result, artifact, options)]
    file = BytesIO()
    with geoparquet.Writer(file, columns) as writer:
        writer.append(rows, records.of_model(artifact))
    return Answer(file.getvalue(), "application/vnd.apache.parquet")


def schema(artifact: Artifact, options: Options) -> pa.Schema:
    """See `geoparquet.schema`. Raises ServiceError bad_option for token embeddings and pictures."""
    from service.formats import geoparquet

    if {"token_embeddings", "picture"} & set(options.outputs):
        raise ServiceError("bad_option", "GeoParquet holds embedding and probabilities; ask for others as JSON or npy.")
    manifest = artifact.manifest
    told = "probabilities" in options.outputs
    return geoparquet.schema(
        manifest.embedding.dim if "embedding" in options.outputs else None,
        [label.name for label in manifest.labels] if told else (),
        [group.name for group in manifest.groups] if told else (),
        options.embedding_dtype,
    )
