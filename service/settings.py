"""What can be set from outside: environment variables, typed, printed at start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.imagery.pool import usable_cpus
from service.model.artifact import MANIFEST, STARTER

SAGEMAKER_MODEL_DIR = Path("/opt/ml/model")  # where SageMaker unpacks model.tar.gz


class Settings(BaseSettings):
    """Environment variables of the same names, in upper case. Sizes in MB are 10⁶ bytes, as SageMaker counts."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    model_dir: Path | None = None  #: an artifact; else /opt/ml/model if there is one, else the bundled starter
    sagemaker_bind_to_port: int = Field(8080, ge=0, le=65535)
    max_body_mb: float = Field(25, gt=0)
    max_pixels: int = Field(16_000_000, gt=0)  #: of one request
    max_instances: int = Field(256, gt=0)  #: tiles in one request
    max_wait_s: float = Field(50, gt=0)  #: SageMaker gives up after 60 s
    decode_workers: int = Field(default_factory=usable_cpus, gt=0)
    decode_timeout_s: float = Field(10, gt=0)
    decode_memory_mb: int = Field(1500, gt=0)
    threads: int = Field(default_factory=usable_cpus, gt=0)
    max_concurrent_transforms: int = Field(16, gt=0)
    max_payload_mb: int = Field(6, gt=0)  #: times max_concurrent_transforms at most 100, says SageMaker
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = Field(default_factory=lambda: "text" if sys.stderr.isatty() else "json")

    @property
    def model_source(self) -> Path:
        """The folder of the artifact to serve."""
        if self.model_dir is not None:
            return self.model_dir
        return SAGEMAKER_MODEL_DIR if (SAGEMAKER_MODEL_DIR / MANIFEST).exists() else STARTER
