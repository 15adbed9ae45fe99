"""What SageMaker accepts, by the model of its API that botocore carries, and how it refuses the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.session
from botocore.exceptions import ParamValidationError
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.validate import validate_parameters

ACCOUNT = "123456789012"  # moto's
REGION = "eu-central-1"


class Refused(Exception):
    """An error as AWS answers it."""

    def __init__(self, code: str, message: str, status: int = 400, **more: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.status, self.more = code, message, status, more


@cache
def service(name: str = "sagemaker") -> ServiceModel:
    return botocore.session.get_session().get_service_model(name)


@cache
def operation(name: str) -> OperationModel:
    return service().operation_model(name)


def check(name: str, request: dict[str, Any]) -> None:
    """Raises ValidationException for a request that the API's model does not allow: botocore's clients check types
    and what is required, the service lengths, ranges, patterns and enumerations, too."""
    shape = operation(name).input_shape
    assert shape is not None
    try:
        validate_parameters(request, shape)
    except ParamValidationError as error:
        raise Refused("ValidationException", str(error)) from None
    broken = list(_broken(request, shape, ""))
    if broken:
        plural = "error" if len(broken) == 1 else "errors"
        raise Refused("ValidationException", f"{len(broken)} validation {plural} detected: {'; '.join(broken)}")


def only(shape: Shape | None, values: dict[str, Any]) -> dict[str, Any]:
    """The values that a structure of the API has members for."""
    assert isinstance(shape, StructureShape)
    copied = dict(values)  # other threads go on writing
    return {name: value for name, value in copied.items() if name in shape.members and value is not None}


def _broken(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _broken(value[name], member, f"{where}.{name}".lstrip("."))
        return
    if isinstance(shape, MapShape):
        for key, item in value.items():
            yield from _broken(key, shape.key, f"{where}.key")
            yield from _broken(item, shape.value, f"{where}.{key}")
    if isinstance(shape, ListShape):
        for index, item in enumerate(value):
            yield from _broken(item, shape.member, f"{where}.{index + 1}")
    for rule in _broken_rules(value, shape):
        yield f"Value '{value}' at '{where}' failed to satisfy constraint: Member must {rule}"


def _broken_rules(value: Any, shape: Shape) -> Iterator[str]:
    said = shape.metadata
    sized = shape.type_name in {"string", "list", "map", "blob"}
    size, what = (len(value), "have length") if sized else (value, "have value")
    if shape.type_name not in {"boolean", "timestamp"}:
        if "min" in said and size < said["min"]:
            yield f"{what} greater than or equal to {said['min']}"
        if "max" in said and size > said["max"]:
            yield f"{what} less than or equal to {said['max']}"
    if "enum" in said and value not in said["enum"]:
        yield f"satisfy enum value set: [{', '.join(said['enum'])}]"
    if "pattern" in said and not re.fullmatch(_in_python(said["pattern"]), value):
        yield f"satisfy regular expression pattern: {said['pattern']}"


def _in_python(pattern: str) -> str:
    """Java's classes of letters and digits, of spaces and of symbols; some in the model end in `${1,128}`."""
    for java, python in (
        (r"\\p\{[LN]\}", r"\\w"),
        (r"\\p\{Z\}", r"\\s"),
        (r"\\p\{[PSM]\}", r"\\W"),
        (r"\$\{1,\d+\}", ""),
    ):
        pattern = re.sub(java, python, pattern)
    return pattern
