"""GeoTIFF: the map of one tile."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from service.answers import records
from service.answers.answer import Answer
from service.errors import ServiceError
from service.featurizer import Refusal, TileResult
from service.formats import cog, colours
from service.imagery.errors import ImageryError
from service.model.artifact import Artifact
from service.options import Options


def to_geotiff(results: Sequence[TileResult], artifact: Artifact, options: Options) -> Answer:
    """A band of probabilities for each name of `colours.legend`, up to the last window that holds data.

    A map has one grid and no place for an error, so several tiles and a refused one fail the request. Raises
    ServiceError not_acceptable, bad_option, no_georeference.
    """
    if len(results) != 1:
        detail = f"image/tiff is the map of one tile, and here are {len(results)}: send one a request, or accept JSON."
        raise ServiceError("not_acceptable", detail)
    (result,) = results
    if isinstance(result, Refusal):
        raise result.error
    _refuse_what_no_map_shows(options)
    cells = records.of_tile(result, artifact, options.model_copy(update={"outputs": ("probabilities",)}))
    width, height = (max(cell["window"][i] + cell["window"][i + 2] for cell in cells) for i in (0, 1))
    file = BytesIO()
    try:
        names = list(colours.legend(artifact.manifest.labels, artifact.manifest.groups))
        cog.write(file, cells, names, cog.Grid.of(cells[0], width, height, options.stride))
    except ImageryError as error:
        raise ServiceError.of(error) from None
    return Answer(file.getvalue(), "image/tiff")


def _refuse_what_no_map_shows(options: Options) -> None:
    in_vain = options.model_fields_set & {"embedding_dtype", "threshold"}
    if in_vain or ("outputs" in options.model_fields_set and options.outputs != ("probabilities",)):
        detail = "A map holds probabilities: ask for outputs=probabilities, without embedding_dtype and threshold."
        raise ServiceError("bad_option", detail)
