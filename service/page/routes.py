"""Serves the files of this folder: the page at `/`, what it is made of under `/page/`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).parent
PAGE = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".tif": "image/tiff",
}
HEADERS = {
    # Whatever a file says of itself is drawn as text, and even a fault in that could run or send nothing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, but asked about each time: 304 until the service is another
}


@dataclass(frozen=True)
class PageFile:
    """One file, in memory: no request leads to the disk."""

    body: bytes
    media_type: str

    @property
    def etag(self) -> str:
        """Of its content."""
        return f'"{hashlib.sha256(self.body).hexdigest()[:32]}"'

    def route(self, path: str) -> Route:
        """Answers with the file, or that it is the one the browser has."""
        headers = HEADERS | {"ETag": self.etag}

        async def answer(request: Request) -> Response:
            known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
            if headers["ETag"] in known:
                return Response(status_code=304, headers=headers)
            return Response(self.body, headers=headers, media_type=self.media_type)

        return Route(path, answer, include_in_schema=False)


def routes() -> list[Route]:
    """A route for each file; the folder has no others, so that no path of a caller is ever looked up."""
    found = {
        file.relative_to(FOLDER).as_posix(): PageFile(file.read_bytes(), TYPES[file.suffix])
        for file in FOLDER.rglob("*")
        if file.suffix in TYPES
    }
    return [file.route("/" if name == PAGE else f"/page/{name}") for name, file in sorted(found.items())]
