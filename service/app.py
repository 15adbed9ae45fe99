"""The routes, each a few lines; what they do stands in the modules they name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from email.message import Message

from fastapi import FastAPI, Request, Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.routing import Route

from service import openapi, options, problems
from service.answers.answer import Answer, MediaType
from service.answers.encoding import encode
from service.answers.negotiation import negotiate
from service.bodies import body as bodies
from service.bodies.limit import BodyLimit
from service.bodies.reading import Reading
from service.callers.deadline import BodyDeadline
from service.callers.keys import ApiKeys, Keys
from service.callers.leaving import unless_gone
from service.callers.lingering import Lingering
from service.errors import ServiceError
from service.featurizer import Featurizer, Refusal, TileResult
from service.formats import stac
from service.metrics import Metrics
from service.page import routes as page
from service.settings import Settings
from service.sources import Sources

CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
LARGEST_CONTENT_TYPE = 2000  # splitting it takes quadratic time: 0.1 s for 16,000 semicolons
CLIENT_GONE = 499  # nginx's number; nobody is there to read it


class GeoJson(JSONResponse):
    """What a STAC item is."""

    media_type = "application/geo+json"


def create(featurizer: Featurizer, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application around a featurizer that somebody else starts and ends."""
    app = FastAPIOffline(
        redoc_url=None,
        static_url="/docs/files",  # FastAPI alone loads them from another host, which many networks forbid
        title="aerial-featurizer",
        description="Overhead imagery in, embeddings and land cover out.",
        version=featurizer.artifact.manifest.version,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        responses=openapi.ANY_ROUTE,
        redirect_slashes=False,  # to whatever host the caller names
    )

    largest_body = int(settings.max_body_mb * 1e6)
    # The one added last sees a request first: who may not ask is told so before any of the body is read.
    app.add_middleware(BodyLimit, largest=largest_body)
    app.add_middleware(BodyDeadline, seconds=settings.receive_timeout_s)
    if settings.api_keys:
        app.add_middleware(ApiKeys, keys=Keys.of(settings.api_keys))
    app.add_middleware(Lingering)
    locked = openapi.LOCKED if settings.api_keys else {}
    sources = Sources(settings.allowed_s3_prefixes)

    @app.get("/ping", summary="Health", responses=openapi.PING, response_class=Response)
    async def ping() -> Response:
        """200 when the model is loaded and a patch went through lately, else 503. Empty."""
        return Response(status_code=200 if featurizer.works else 503)

    @app.post("/invocations", summary="Embeddings and land cover", openapi_extra=openapi.INVOCATIONS, **locked)
    async def invocations(request: Request) -> Response:
        """GeoTIFFs in, one prediction for each patch out."""
        started = time.perf_counter()
        reading = Reading(
            featurizer.artifact.manifest.input.bands,
            settings.max_instances,
            sources.for_request(largest_body),
            featurizer.is_busy,
        )
        with featurizer.answering():
            response, code = await _answer(request, reading, featurizer, settings)
        metrics.requests.labels(code).inc()
        metrics.request_seconds.observe(time.perf_counter() - started)
        return response

    @app.get("/execution-parameters", summary="What SageMaker's batch transform asks for")
    async def execution_parameters() -> dict[str, int | str]:
        """Concurrency and payload; without this answer a transform job sends one request at a time."""
        return {
            "MaxConcurrentTransforms": settings.max_concurrent_transforms,
            "BatchStrategy": "SINGLE_RECORD",
            "MaxPayloadInMB": settings.max_payload_mb,
        }

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response, **locked)
    async def prometheus() -> Response:
        """Text in the exposition format."""
        return Response(metrics.text(), media_type=metrics.content_type)

    @app.get("/model", summary="The model card", response_class=GeoJson, **locked)
    async def model() -> GeoJson:
        """A STAC item: the manifest of the artifact that is served, its digest, and the engine that runs it."""
        return GeoJson(stac.item(featurizer.artifact, featurizer.engine_name))

    app.router.routes.extend(page.routes())
    # Found before FastAPI's own, which is for the docs: its stacks of contexts, telemetry and dependencies, of which
    # there are none, take 0.06 of the 1.2 ms that a request takes in this process.
    app.router.routes.insert(0, Route("/invocations", invocations, methods=["POST"], include_in_schema=False))

    @app.exception_handler(HTTPException)
    async def no_route(_request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}[error.status_code]  # Starlette itself raises no others
        answer = problems.response(ServiceError(code, str(error.detail)))
        answer.headers.update(error.headers or {})  # which methods are allowed
        return answer

    return app


async def _answer(
    request: Request, reading: Reading, featurizer: Featurizer, settings: Settings
) -> tuple[Response, str]:
    """The response, and the code under which it is counted."""
    try:
        answer = await _invoke(request, reading, featurizer, settings)
    except ServiceError as error:
        return _problem(error)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE), "client_gone"
    except asyncio.CancelledError:  # the server ends, and this request's body is not here yet or its time is up
        late = ServiceError("draining", "The service ended before it could answer; send it again.", retry_after_s=5)
        return _problem(late)
    except Exception as error:
        return _problem(ServiceError.unforeseen(error))
    return Response(answer.body, media_type=answer.media_type), "ok"


def _problem(error: ServiceError) -> tuple[Response, str]:
    try:
        return problems.response(error), error.code
    except Exception as fault:  # it quotes what no answer can hold
        return problems.response(ServiceError.unforeseen(fault)), "internal"


async def _invoke(request: Request, reading: Reading, featurizer: Featurizer, settings: Settings) -> Answer:
    content_type = _content_type(request.headers.get("content-type", ""))
    media_type = content_type.get_content_type()
    accepted = negotiate(request.headers.get("accept"), _default_answer(media_type, settings))
    featurizer.raise_unless_ready()
    featurizer.admit(1)
    body = await bodies.read(request, media_type, reading)
    asked = options.parse(
        request.query_params.multi_items(),
        dict(content_type.get_params(failobj=[])[1:]),
        request.headers.get(CUSTOM_ATTRIBUTES),
        body.options,
    )
    featurizer.admit(len(body.tiles))
    results = await unless_gone(
        request.receive,
        featurizer.predict(
            body.tiles,
            asked.for_reading(settings.limits),
            tokens="token_embeddings" in asked.outputs,
            pixels="picture" in asked.outputs,
        ),
    )
    _raise_if_all_were_refused(results, settings.batch_errors == "record")
    return await encode(accepted, results, featurizer.artifact, asked)


def _content_type(header: str) -> Message:
    if len(header) > LARGEST_CONTENT_TYPE:
        detail = f"Content-Type is over {LARGEST_CONTENT_TYPE} bytes; options may be query parameters instead."
        raise ServiceError("headers_too_large", detail, limits={"max_content_type_kb": LARGEST_CONTENT_TYPE / 1e3})
    message = Message()
    message["content-type"] = header
    return message


def _default_answer(media_type: str, settings: Settings) -> MediaType:
    """Lines for lines where nobody says otherwise: batch transform joins them."""
    is_lines = media_type == bodies.JSON_LINES
    return settings.sagemaker_default_invocations_accept or (
        "application/jsonlines" if is_lines else "application/json"
    )


def _raise_if_all_were_refused(results: Sequence[TileResult], is_recorded: bool) -> None:
    """Raises ServiceError with all reasons, unless each is its tile's own and such reasons are recorded instead.

    Recorded, a bad object costs a batch transform no retries and does not fail the job; what is no tile's fault
    (as engine_failed, source_unavailable) still does, since the platform's next try may go well.
    """
    refused = [result for result in results if isinstance(result, Refusal)]
    passing = [refusal.error for refusal in refused if not refusal.error.is_the_tiles]
    if len(refused) < len(results) or (is_recorded and not passing):
        return
    first = (passing or [refused[0].error])[0]
    if len(refused) > 1:
        first.more["errors"] = [{"id": r.id, "code": r.error.code, "detail": r.error.detail} for r in refused]
    raise first
