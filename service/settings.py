"""What can be set from outside: environment variables, typed, printed at start."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.answers.answer import MediaType
from service.cpus import usable_cpus
from service.imagery.tiff.limits import Limits
from service.model.artifact import STARTER
from service.model.engine import Choice
from service.sources import S3_PREFIX

SAGEMAKER_MODEL_DIR = Path("/opt/ml/model")  # where SageMaker unpacks model.tar.gz
API_KEY = r"[!-~]{16,}"  # what a header carries as it is, and nobody guesses
LARGEST_TRANSFORM_MB = 100  # CreateTransformJob: MaxPayloadInMB × MaxConcurrentTransforms


class Settings(BaseSettings):
    """Environment variables of the same names, in upper case. Sizes in MB are 10⁶ bytes, as SageMaker counts."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    model_dir: Path | None = None  #: an artifact; else /opt/ml/model unless it is empty, else the starter
    sagemaker_bind_to_port: int = Field(8080, ge=0, le=65535)
    sagemaker_default_invocations_accept: MediaType | None = None  #: where a client does not say what it accepts
    sagemaker_batch: bool = False  #: set by batch transform, always
    sagemaker_max_payload_in_mb: int = 0  #: set by batch transform, in MiB, if the job did
    max_body_mb: float = Field(
        default_factory=lambda said: max(25, math.ceil(said["sagemaker_max_payload_in_mb"] * 1.048576)), gt=0
    )  #: of a body, and of all that it names in S3
    max_pixels: int = Field(16_000_000, gt=0)  #: of all tiles of a request
    max_bands: int = Field(512, gt=0)  #: of a file
    max_block_mb: float = Field(256, gt=0)  #: of a strip or tile, decoded
    max_decoded_mb: float = Field(1000, gt=0)  #: of a file
    max_instances: int = Field(256, gt=0)  #: tiles in one request
    max_wait_s: float = Field(50, gt=0)  #: SageMaker gives up after 60 s
    receive_timeout_s: float = Field(30, gt=0)  #: for headers; again for a body, or longer if it keeps coming
    decode_workers: int = Field(default_factory=usable_cpus, gt=0)
    decode_timeout_s: float = Field(10, gt=0)
    decode_memory_mb: int = Field(1500, gt=0)
    decode_queue: int = Field(1024, ge=0)  #: tiles that wait until a decode process is free
    #: what runs the model: the fastest that machine and artifact allow; `torch` is bfloat16 on a GPU, float32 on a CPU
    engine: Choice = "auto"
    threads: int = Field(default_factory=usable_cpus, gt=0)
    max_concurrent_transforms: int = Field(16, gt=0)
    max_payload_mb: int = Field(6, gt=0)
    #: what is answered if every tile of a request is refused: 200 with the reasons, or the first of them as a problem
    batch_errors: Literal["record", "fail"] = Field(
        default_factory=lambda said: "record" if said["sagemaker_batch"] else "fail"
    )
    #: s3://bucket/prefix, separated by commas; empty: requests may name nothing in S3
    allowed_s3_prefixes: Annotated[tuple[str, ...], NoDecode] = ()
    #: separated by commas; empty: everybody may ask, as behind SageMaker, which knows who does
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = Field(default_factory=lambda: "text" if sys.stderr.isatty() else "json")

    @field_validator("model_dir", "sagemaker_default_invocations_accept", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return value or None

    @field_validator("allowed_s3_prefixes", mode="before")
    @classmethod
    def _as_folders(cls, value: Any) -> Any:
        """Each ends in a slash, so that s3://b/tiles does not allow s3://b/tiles-secret."""
        if not isinstance(value, str):
            return value
        prefixes = tuple(part.strip().rstrip("/") + "/" for part in value.split(",") if part.strip())
        if wrong := [prefix for prefix in prefixes if not re.fullmatch(S3_PREFIX, prefix)]:
            raise ValueError(f"{wrong[0]!r} is no prefix in S3: write s3://bucket/prefix, separated by commas")
        return prefixes

    @field_validator("api_keys", mode="before")
    @classmethod
    def _as_keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        keys = [part.strip() for part in value.split(",") if part.strip()]
        if not all(re.fullmatch(API_KEY, key) for key in keys):
            raise ValueError("each key must have at least 16 characters, of visible ASCII")
        return tuple(map(SecretStr, keys))

    @model_validator(mode="after")
    def _sagemaker_agrees(self) -> Self:
        if self.max_payload_mb * self.max_concurrent_transforms > LARGEST_TRANSFORM_MB:
            raise ValueError(f"MAX_PAYLOAD_MB times MAX_CONCURRENT_TRANSFORMS may be at most {LARGEST_TRANSFORM_MB}")
        return self

    @property
    def limits(self) -> Limits:
        """Of each file of a request."""
        return Limits(
            max_pixels=self.max_pixels,
            max_bands=self.max_bands,
            max_block_bytes=int(self.max_block_mb * 1e6),
            max_decoded_bytes=int(self.max_decoded_mb * 1e6),
        )

    @property
    def model_source(self) -> Path:
        """The folder of the artifact to serve."""
        if self.model_dir is not None:
            return self.model_dir
        unpacked = SAGEMAKER_MODEL_DIR.is_dir() and any(SAGEMAKER_MODEL_DIR.iterdir())  # what is no model is refused
        return SAGEMAKER_MODEL_DIR if unpacked else STARTER
