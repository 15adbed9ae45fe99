"""What can be set from outside: environment variables, typed, printed at start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.imagery.pool import usable_cpus
from service.model.artifact import MANIFEST, STARTER

SAGEMAKER_MODEL_DIR = Path("/opt/ml/model")  # where SageMaker unpacks model.tar.gz
LARGEST_TRANSFORM_MB = 100  # CreateTransformJob: MaxPayloadInMB × MaxConcurrentTransforms


class Settings(BaseSettings):
    """Environment variables of the same names, in upper case. Sizes in MB are 10⁶ bytes, as SageMaker counts."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    model_dir: Path | None = None  #: an artifact; else /opt/ml/model if there is one, else the bundled starter
    sagemaker_bind_to_port: int = Field(8080, ge=0, le=65535)
    max_body_mb: float = Field(25, gt=0)
    max_pixels: int = Field(16_000_000, gt=0)  #: of one file
    max_instances: int = Field(256, gt=0)  #: tiles in one request
    max_wait_s: float = Field(50, gt=0)  #: SageMaker gives up after 60 s
    decode_workers: int = Field(default_factory=usable_cpus, gt=0)
    decode_timeout_s: float = Field(10, gt=0)
    decode_memory_mb: int = Field(1500, gt=0)
    threads: int = Field(default_factory=usable_cpus, gt=0)
    max_concurrent_transforms: int = Field(16, gt=0)
    max_payload_mb: int = Field(6, gt=0)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = Field(default_factory=lambda: "text" if sys.stderr.isatty() else "json")

    @field_validator("model_dir", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: Any) -> Any:
        return value or None

    @model_validator(mode="after")
    def _sagemaker_agrees(self) -> Self:
        if self.max_payload_mb * self.max_concurrent_transforms > LARGEST_TRANSFORM_MB:
            raise ValueError(f"MAX_PAYLOAD_MB times MAX_CONCURRENT_TRANSFORMS may be at most {LARGEST_TRANSFORM_MB}")
        return self

    @property
    def model_source(self) -> Path:
        """The folder of the artifact to serve."""
        if self.model_dir is not None:
            return self.model_dir
        return SAGEMAKER_MODEL_DIR if (SAGEMAKER_MODEL_DIR / MANIFEST).exists() else STARTER
