from __future__ import annotations

from pathlib import Path

import pytest

from service import settings
from service.answers.negotiation import ENCODERS, negotiate
from service.errors import ServiceError
from service.model.artifact import STARTER
from service.settings import Settings


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SAGEMAKER_BATCH", "BATCH_ERRORS", "MAX_BODY_MB", "ALLOWED_S3_PREFIXES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_bad_tiles_are_recorded_in_batch_transform_and_fail_elsewhere_unless_it_is_said(
    environment: pytest.MonkeyPatch,
) -> None:
    assert Settings().batch_errors == "fail"
    environment.setenv("SAGEMAKER_BATCH", "true")
    assert Settings().batch_errors == "record"
    environment.setenv("BATCH_ERRORS", "fail")
    assert Settings().batch_errors == "fail"


@pytest.mark.parametrize(("payload", "said", "largest"), [("6", None, 25), ("50", None, 53), ("50", "30", 30)])
def test_a_body_may_be_as_large_as_the_job_announces(
    environment: pytest.MonkeyPatch, payload: str, said: str | None, largest: float
) -> None:
    environment.setenv("SAGEMAKER_MAX_PAYLOAD_IN_MB", payload)
    if said:
        environment.setenv("MAX_BODY_MB", said)
    assert Settings().max_body_mb == largest


def test_prefixes_become_folders(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_S3_PREFIXES", "s3://one, s3://two/tiles//,")
    assert Settings().allowed_s3_prefixes == ("s3://one/", "s3://two/tiles/")


@pytest.mark.parametrize("default", ENCODERS)
def test_what_is_answered_where_nobody_says_can_be_set(environment: pytest.MonkeyPatch, default: str) -> None:
    environment.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", default)
    asked = Settings().sagemaker_default_invocations_accept
    assert asked == default
    assert negotiate(None, asked) == negotiate("*/*", asked) == negotiate("text/html, application/*;q=0.1", asked)
    assert negotiate(None, asked) == default
    assert negotiate("application/x-npy", asked) == "application/x-npy"
    with pytest.raises(ServiceError):
        negotiate("text/html", asked)


def test_what_lies_where_sagemaker_unpacks_is_served_and_the_starter_only_where_nothing_does(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment.delenv("MODEL_DIR", raising=False)
    environment.setattr(settings, "SAGEMAKER_MODEL_DIR", tmp_path / "model")
    assert Settings().model_source == STARTER
    (tmp_path / "model" / "nested").mkdir(parents=True)
    assert Settings().model_source == tmp_path / "model"
    (tmp_path / "model" / "nested").rmdir()
    assert Settings().model_source == STARTER
