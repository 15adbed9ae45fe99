"""What a caller may ask for beside the image: as query parameters, parameters of the media type, `options` of a JSON
body, or, since SageMaker passes neither queries nor headers of one's own, JSON in X-Amzn-SageMaker-Custom-Attributes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from service.errors import ServiceError
from service.imagery.band_order import ORDERS
from service.imagery.patches import ReadOptions
from service.imagery.tiff.limits import Limits

# Parameters of media types that are no options: RFC 7578, and OGC 21-026 for cloud-optimized GeoTIFFs.
NOT_OPTIONS = {"charset", "boundary", "application", "profile"}


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], BeforeValidator(_split)]


class Options(BaseModel):
    """Options of a request. Unknown or contradictory ones are an error, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: Names | None = Field(
        None,
        description="Names of the file's bands, in file order, separated by commas; or a usual order: "
        f"{', '.join(ORDERS)}.",
    )
    boa_offset: Literal["auto", "0", "-1000"] = Field(
        "auto",
        description="Offset added to DN: auto follows the file's own tags; -1000 is for Sentinel-2 products of "
        "baseline 04.00 and later that still hold it.",
    )
    scale: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Factor from file values to reflectance × 10,000."
    )
    stride: int | None = Field(
        None,
        ge=1,
        description="Pixels from one window of a scene to the next: less than a patch lets them overlap, and counts as "
        "many more pixels. Side by side by default.",
    )
    outputs: Annotated[
        tuple[Literal["embedding", "probabilities", "token_embeddings", "picture"], ...], BeforeValidator(_split)
    ] = Field(
        ("embedding", "probabilities"),
        min_length=1,
        description="What to answer, separated by commas; picture is for JSON and JSON Lines.",
    )
    embedding_dtype: Literal["float32", "float16", "int8"] = Field(
        "float32", description="Type of the embeddings; int8 comes with its scale."
    )
    top_k: int | None = Field(None, ge=1, description="Only the k likeliest labels; all by default.")
    threshold: float | None = Field(None, ge=0, le=1, description="Replaces the model's own threshold of every label.")
    require_geo: bool = Field(False, description="Refuse an image without georeference.")

    @field_validator("boa_offset", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _nothing_said_in_vain(self) -> Self:
        if "probabilities" not in self.outputs and {"top_k", "threshold"} & self.model_fields_set:
            raise ValueError("top_k and threshold are for outputs=probabilities")
        if not {"embedding", "token_embeddings"} & set(self.outputs) and "embedding_dtype" in self.model_fields_set:
            raise ValueError("embedding_dtype is for outputs=embedding")
        return self

    def for_reading(self, limits: Limits) -> ReadOptions:
        """The part of it that reading needs."""
        offset = None if self.boa_offset == "auto" else int(self.boa_offset)
        return ReadOptions(self.bands, offset, self.scale, self.require_geo, limits, stride=self.stride)


def parse(
    query: Iterable[tuple[str, str]],
    media_type: Mapping[str, str],
    custom_attributes: str | None,
    body: Mapping[str, Any] | None = None,
) -> Options:
    """Options from the places they travel in. Raises ServiceError bad_option, also for one said twice."""
    said: dict[str, Any] = {}
    attributes = _json_object(custom_attributes) if custom_attributes else {}
    of_media_type = ((name, value) for name, value in media_type.items() if name not in NOT_OPTIONS)
    for name, value in (*query, *of_media_type, *attributes.items(), *(body or {}).items()):
        if name in said and str(said[name]) != str(value):
            raise ServiceError("bad_option", f"The option {name} is given twice with different values; give it once.")
        said[name] = value
    try:
        return Options.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"][:1]))[:64]
        if first["type"] == "extra_forbidden":
            known = ", ".join(Options.model_fields)
            raise ServiceError("bad_option", f"There is no option {name!r}; the options are {known}.") from None
        raise ServiceError("bad_option", f"Option {name}: {first['msg']}." if name else f"{first['msg']}.") from None


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ServiceError("bad_option", "X-Amzn-SageMaker-Custom-Attributes must be a JSON object of options.")
    return value
