"""The one table that says which error becomes which status and code (RFC 9457 problem JSON)."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from service.imagery.errors import ImageryError

STATUS = {
    "bad_request": 400,
    "empty_body": 400,
    "bad_json": 400,
    "bad_base64": 400,
    "bad_option": 400,
    "bad_multipart": 400,
    "unauthorized": 401,
    "source_forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "receive_timeout": 408,
    "not_a_tiff": 415,
    "unsupported_codec": 415,
    "unsupported_dtype": 415,
    "unsupported_media_type": 415,
    "body_too_large": 413,
    "image_too_large": 413,
    "block_too_large": 413,
    "too_many_instances": 413,
    "truncated": 422,
    "corrupt": 422,
    "decode_timeout": 422,
    "decode_crashed": 422,
    "band_mapping_required": 422,
    "band_count": 422,
    "duplicate_bands": 422,
    "bands_misaligned": 422,
    "scale_ambiguous": 422,
    "no_valid_pixels": 422,
    "too_small": 422,
    "no_georeference": 422,
    "source_not_found": 422,
    "overloaded": 429,
    "headers_too_large": 431,
    "loading": 503,
    "draining": 503,
    "engine_failed": 503,
    "source_unavailable": 503,
    "internal": 500,
}
#: Under 500, yet no tile's fault: of how the request was made, or of the moment.
NO_TILES_FAULT = {"unsupported_media_type", "too_many_instances", "receive_timeout", "overloaded"}
LARGER = (
    "Larger scenes: `python -m service embed` offline, or an asynchronous endpoint with a higher MAX_PIXELS and "
    "DECODE_MEMORY_MB."
)
log = logging.getLogger("service")


class ServiceError(Exception):
    """A request that is answered with a problem.

    `code` is a key of STATUS, `detail` one sentence that says what to do, `more` goes into the answer as it is.
    """

    def __init__(self, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.more = code, detail, more

    @property
    def status(self) -> int:
        """Of HTTP."""
        return STATUS[self.code]

    @property
    def is_the_tiles(self) -> bool:
        """True where the same tile would be refused again, and another in its place might not be."""
        return self.status < 500 and self.code not in NO_TILES_FAULT

    @classmethod
    def of(cls, error: ImageryError) -> ServiceError:
        """The same error, as the service answers it."""
        detail = f"{error.detail} {LARGER}" if error.code == "image_too_large" else error.detail
        return cls(error.code, detail, **({"limits": error.limits} if error.limits else {}))

    @classmethod
    def unforeseen(cls, error: BaseException) -> ServiceError:
        """What callers are told of a fault of ours: an id under which the log has all of it."""
        number = uuid.uuid4().hex
        log.error("internal error %s", number, exc_info=error)
        return cls("internal", "Something went wrong inside the service; its log has more under this id.", id=number)

    def problem(self) -> dict[str, Any]:
        """The body of the answer."""
        title = self.code.replace("_", " ").capitalize()
        return {
            "type": "about:blank",
            "title": title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        } | self.more
