"""What AWS refuses, said so that people know what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

#: codes of AWS's errors → our code and what to do; what AWS itself said is put before it
ADVICE = {
    ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"): (
        "access_denied",
        "Ask for this permission, or use another profile (AWS_PROFILE).",
    ),
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"): (
        "no_credentials",
        "Sign in again (aws sso login), or renew the keys.",
    ),
    ("ResourceLimitExceeded", "ServiceQuotaExceededException", "LimitExceededException", "LimitExceeded"): (
        "quota_exceeded",
        "Ask for more under Service Quotas, or take another instance type or region.",
    ),
    ("ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown"): (
        "throttled",
        "AWS asks for fewer calls; try again in a minute.",
    ),
    (
        *("ResourceNotFound", "ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchEntity"),
        *("RepositoryNotFoundException", "ImageNotFoundException", "ObjectNotFoundException", "404"),
    ): (
        "not_found",
        "Check the name, the region and --stack-name.",
    ),
    ("ResourceInUse", "ConflictException", "BucketAlreadyExists"): (
        "in_use",
        "Choose another name, or wait until it is free.",
    ),
}
BY_CODE = {code: told for codes, told in ADVICE.items() for code in codes}


class DeployError(Exception):
    """A command that cannot be carried out: a stable code, and a sentence that says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


@contextmanager
def explained() -> Iterator[None]:
    """Within, errors of botocore become DeployError."""
    from botocore import exceptions as aws

    try:
        yield
    except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.TokenRetrievalError, aws.SSOError) as error:
        detail = f"{error}. Set AWS_PROFILE, sign in (aws sso login), or set AWS_ACCESS_KEY_ID and its secret."
        raise DeployError("no_credentials", detail) from None
    except aws.ProfileNotFound as error:
        raise DeployError("no_credentials", f"{error}. AWS_PROFILE must name one of ~/.aws/config.") from None
    except aws.NoRegionError:
        raise DeployError("no_region", "No region is set: say --region, or set AWS_DEFAULT_REGION.") from None
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise DeployError("unreachable", f"{error}. Check the network and the region.") from None
    except aws.ParamValidationError as error:
        raise DeployError("bad_request", " ".join(str(error).split())) from None
    except aws.ClientError as error:
        raise of(error.response.get("Error", {}), error.operation_name) from None


def of(said: dict[str, str], operation: str) -> DeployError:
    """The error for what AWS said of an operation."""
    code, message = said.get("Code", "Unknown"), said.get("Message", "").rstrip(". ")
    ours, advice = BY_CODE.get(code, ("aws_error", ""))
    if code in ("ValidationException", "ValidationError"):
        if any(said in message for said in ("ould not find", "does not exist", "not found")):
            ours, advice = BY_CODE["ResourceNotFound"]
        elif "role" in message.lower():
            ours, advice = "role_unusable", "Run `python -m deploy setup`: it makes the roles that SageMaker needs."
    return DeployError(ours, f"{operation}: {message or code}. {advice}".strip())


@contextmanager
def missing_is_fine() -> Iterator[None]:
    """Within, it is no error that what AWS was asked of or was to delete is not there; what follows is left out."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if of(error.response.get("Error", {}), error.operation_name).code != "not_found":
            raise
