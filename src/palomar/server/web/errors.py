"""PalomarError to HTTP status, once; how the body looks is each adapter's own matter."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from palomar.contract import errors as e

# Looked up along the class's ancestors, so a new leaf has its parent's status until it gets its own.
HTTP_STATUS: dict[type[e.PalomarError], int] = {
    e.PalomarError: 500,
    e.InvalidInput: 400,
    e.MalformedStream: 422,
    e.CountMismatch: 422,
    e.DigestMismatch: 422,
    e.Unauthenticated: 401,
    e.NotAllowed: 403,
    e.NotFound: 404,
    e.Conflict: 409,
    e.LegacyFrozen: 403,
    e.Unsupported: 501,
    e.ImageMissing: 503,
    e.ImageBuildFailed: 409,
    e.ImageNotBuilt: 501,
    e.LimitExceeded: 413,
    e.RateLimited: 429,
    e.TooManyBuilds: 429,
    e.TooManyVariants: 409,
    e.Unavailable: 503,
    e.StorageFull: 507,
    e.DataCorrupt: 500,
}


def http_status(error: e.PalomarError) -> int:
    return lookup(HTTP_STATUS, error)


def lookup(table: dict[type[e.PalomarError], int], error: e.PalomarError) -> int:
    """The entry of the error's class, or of its nearest ancestor."""
    return next(table[cls] for cls in type(error).__mro__ if cls in table)


class Renderer(Protocol):
    def __call__(self, error: e.PalomarError, status: int, request_id: str) -> Response: ...


def render_problem(error: e.PalomarError, status: int, request_id: str) -> Response:
    """Problem details (RFC 9457), the native API's form."""
    body: dict[str, Any] = {
        "type": f"urn:palomar:error:{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "code": error.code,
        "fields": error.fields,
        "request_id": request_id,
    }
    return JSONResponse(body, status, media_type="application/problem+json")


# Path prefix -> renderer; adapters add theirs when the application is put together.
_renderers: list[tuple[str, Renderer]] = []
# For paths that no adapter claims, by what the request accepts: a browser gets a page.
_by_media_type: dict[str, Renderer] = {}


def use_renderer(prefix: str, renderer: Renderer) -> None:
    _renderers[:] = [(p, r) for p, r in _renderers if p != prefix]
    _renderers.append((prefix, renderer))


def use_renderer_for_media_type(media_type: str, renderer: Renderer) -> None:
    _by_media_type[media_type] = renderer


def render(error: Exception, scope: Scope, request_id: str) -> Response:
    """The answer to ``error`` in the form that clients of the request's path read."""
    known = to_palomar_error(error, scope)
    status = error.status_code if isinstance(error, HTTPException) else http_status(known)
    response = _renderer(scope)(known, status, request_id)
    if isinstance(known, e.RateLimited):
        response.headers["Retry-After"] = str(known.retry_after_s)
    return response


def _renderer(scope: Scope) -> Renderer:
    claims = [pair for pair in _renderers if scope["path"].startswith(pair[0])]
    if claims:
        return max(claims, key=lambda pair: len(pair[0]))[1]
    accepted = Headers(scope=scope).get("accept", "")
    return next((r for media_type, r in _by_media_type.items() if media_type in accepted), render_problem)


def to_palomar_error(error: Exception, scope: Scope) -> e.PalomarError:
    if isinstance(error, e.PalomarError):
        return error
    if isinstance(error, HTTPException) and error.status_code == 404:
        return e.UnknownMethod("page", scope["path"])
    if isinstance(error, HTTPException) and error.status_code < 500:
        return e.BadRequestBody(str(error.detail).rstrip(".").lower())
    return e.PalomarError()
