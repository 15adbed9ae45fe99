"""The routes, each a few lines; what they do stands in the modules they name."""

from __future__ import annotations

import logging
import time
import uuid
from email.message import Message

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service import bodies, openapi, options, responses
from service.errors import ServiceError
from service.featurizer import Featurizer, Refusal
from service.metrics import Metrics
from service.settings import Settings

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
log = logging.getLogger("service")


def create(featurizer: Featurizer, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application around a featurizer that somebody else starts and ends."""
    app = FastAPI(
        title="aerial-featurizer",
        description="Overhead imagery in, embeddings and land cover out.",
        version=featurizer.artifact.manifest.version,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )

    app.add_middleware(bodies.BodyLimit, largest=int(settings.max_body_mb * 1e6))

    @app.get("/ping", summary="Health", responses=openapi.PING, response_class=Response)
    async def ping() -> Response:
        """200 when the model is loaded and a patch went through lately, else 503. Empty."""
        return Response(status_code=200 if featurizer.works else 503)

    @app.post("/invocations", summary="Embeddings and land cover", openapi_extra=openapi.INVOCATIONS)
    async def invocations(request: Request) -> Response:
        """GeoTIFFs in, one prediction for each patch out."""
        started = time.perf_counter()
        code = "client_gone"
        try:
            with featurizer.answering():
                answer = await _invoke(request, featurizer, settings)
            code = "ok"
            return Response(answer.body, media_type=answer.media_type)
        except Exception as error:
            code = _service_error(error).code
            raise
        finally:
            metrics.requests.labels(code).inc()
            metrics.request_seconds.observe(time.perf_counter() - started)

    @app.get("/execution-parameters", summary="What SageMaker's batch transform asks for")
    async def execution_parameters() -> dict[str, int | str]:
        """Concurrency and payload; without this answer a transform job sends one request at a time."""
        return {
            "MaxConcurrentTransforms": settings.max_concurrent_transforms,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": settings.max_payload_mb,
        }

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        """Text in the exposition format."""
        return Response(metrics.text(), media_type=metrics.content_type)

    @app.get("/model", summary="The model card")
    async def model() -> dict[str, object]:
        """The manifest of the artifact that is served, its digest, and the engine that runs it."""
        artifact = featurizer.artifact
        manifest = artifact.manifest.model_dump(mode="json")
        return {**manifest, "sha256": artifact.sha256, "engine": featurizer.engine_name}

    @app.exception_handler(Exception)
    @app.exception_handler(ServiceError)
    @app.exception_handler(HTTPException)
    async def problem(_request: Request, error: Exception) -> Response:
        return _problem(error)

    return app


async def _invoke(request: Request, featurizer: Featurizer, settings: Settings) -> responses.Answer:
    media_type = Message()
    media_type["content-type"] = request.headers.get("content-type", "")
    asked = options.parse(
        request.query_params.multi_items(),
        dict(media_type.get_params(failobj=[])[1:]),
        request.headers.get(CUSTOM_ATTRIBUTES),
    )
    encode = responses.ENCODERS[responses.negotiate(request.headers.get("accept"))]
    featurizer.admit(0)
    bands = featurizer.artifact.manifest.input.bands
    tiles = await bodies.read(request, media_type.get_content_type(), bands, settings.max_instances)
    featurizer.admit(len(tiles))
    results = await featurizer.predict(
        tiles, asked.for_reading(settings.max_pixels), "token_embeddings" in asked.outputs
    )
    refused = [result for result in results if isinstance(result, Refusal)]
    if len(refused) == len(results):
        first = refused[0].error
        if len(refused) > 1:
            first.more["errors"] = [{"id": r.id, "code": r.error.code, "detail": r.error.detail} for r in refused]
        raise first
    return encode(results, featurizer.artifact, asked)


def _service_error(error: Exception) -> ServiceError:
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, HTTPException):
        codes = {404: "not_found", 405: "method_not_allowed"}
        if error.status_code in codes:
            return ServiceError(codes[error.status_code], str(error.detail))
    return ServiceError("internal", "Something went wrong inside the service.")


def _problem(error: Exception) -> Response:
    said = _service_error(error)
    if said.code == "internal":
        said.more["id"] = uuid.uuid4().hex
        log.error("internal error %s", said.more["id"], exc_info=error)
    headers = {"Retry-After": str(said.more["retry_after_s"])} if "retry_after_s" in said.more else None
    return JSONResponse(said.problem(), said.status, headers, media_type="application/problem+json")
