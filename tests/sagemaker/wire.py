"""The protocols of AWS, as far as they must be read and spoken before moto."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

from tests.sagemaker.api import Refused

JSON = "application/x-amz-json-1.1"
SPEAK_XML = {"s3", "iam", "sts", "cloudformation", "monitoring", "sns", "ec2"}
INVOCATIONS = {"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync"}


@dataclass(frozen=True)
class Asked:
    """A call, as far as it can be told without reading what streams: S3's bodies stay where they are."""

    service: str
    operation: str
    request: dict[str, Any]
    body: bytes
    key: str  #: the access key that signed it


def read(environ: dict[str, Any]) -> Asked:
    """Service from the signature, operation from target, action or path. What is read of the body is put back."""
    signed, path = environ.get("HTTP_AUTHORIZATION", ""), environ["PATH_INFO"]
    key, *scope = signed.split("Credential=")[-1].split(",")[0].split("/")
    service, method = scope[2] if len(scope) > 3 else "", environ["REQUEST_METHOD"]
    if not service or service == "s3":
        bucket, _, name = path.lstrip("/").partition("/")
        where = {"Bucket": bucket, "Key": name, "Query": environ.get("QUERY_STRING", "")}
        return Asked(service, method, where, b"", key)
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "")
    body = environ["wsgi.input"].read(*([] if chunked else [int(environ.get("CONTENT_LENGTH") or 0)]))
    environ["wsgi.input"] = io.BytesIO(body)
    if service == "sagemaker" and path.startswith("/endpoints/"):
        _, _, name, *_, last = path.split("/")
        request = {"EndpointName": name, "ContentType": environ.get("CONTENT_TYPE", ""), "Size": len(body)}
        return Asked("sagemaker-runtime", INVOCATIONS.get(last, last), request, body, key)
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return Asked(service, target.rsplit(".", 1)[-1], json.loads(body or b"{}"), body, key)
    form = dict(parse_qsl(body.decode("latin-1"))) if "form" in environ.get("CONTENT_TYPE", "") else {}
    _, _, operation = path.rpartition("/operation/")  # where CBOR is spoken
    return Asked(service, form.pop("Action", operation if operation != path else f"{method} {path}"), form, body, key)


def answer(told: dict[str, Any]) -> Response:
    return Response(json.dumps(told), content_type=JSON)


def refusal(service: str, refused: Refused) -> Response:
    """An error in the service's own protocol."""
    code, message, status = refused.code, refused.message, refused.status
    if service in SPEAK_XML:
        error = f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message></Error>"
        text = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        return Response(text, status, content_type="text/xml")
    told = {"__type": code, "message": message, "Message": message, **refused.more}
    return Response(json.dumps(told), status, {"x-amzn-errortype": code}, content_type=JSON)


def simulated(request: Mapping[str, Any], denied: Collection[str]) -> Response:
    """The answer of SimulatePrincipalPolicy."""
    results = "".join(
        f"<member><EvalActionName>{escape(action)}</EvalActionName><EvalResourceName>*</EvalResourceName>"
        f"<EvalDecision>{'implicitDeny' if action in denied else 'allowed'}</EvalDecision></member>"
        for name, action in request.items()
        if name.startswith("ActionNames.member.")
    )
    text = (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><IsTruncated>false</IsTruncated><EvaluationResults>{results}"
        "</EvaluationResults></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
    )
    return Response(text, content_type="text/xml")
