"""Answers that are stored bytes: immutable, cacheable, resumable."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from palomar.server.blobs.verified import StoredBytes
from palomar.server.web.ranges import Unsatisfiable, parse_range
from palomar.server.web.sending import send_stored
from palomar.server.wiring import Hub

#: Of a version's content; 'private' since who may read it can change.
IMMUTABLE = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Vary": "Authorization",
    "Content-Disposition": "attachment",
    # A cached page of the hub's own origin could otherwise be made of a user's bytes.
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def stored_response(hub: Hub, request: Request, at: StoredBytes, etag: str, headers: Mapping[str, str]) -> Response:
    """The bytes, or the part of them that the request wants."""
    all_headers = {**IMMUTABLE, "Accept-Ranges": "bytes", "ETag": f'"{etag}"', **headers}
    if f'"{etag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=all_headers)
    try:
        wanted = parse_range(request.headers.get("range"), at.stored_bytes)
    except Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{at.stored_bytes}"})
    return send_stored(hub, request, at, all_headers, part=wanted)
