"""Answers that are stored bytes: immutable, cacheable, resumable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from palomar.contract.errors import DataCorrupt
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.web.ranges import ByteRange, Unsatisfiable, parse_range
from palomar.server.wiring import Hub

#: Of a version's content; 'private' since who may read it can change.
IMMUTABLE = {
    "Cache-Control": "private, max-age=31536000, immutable",
    "Vary": "Authorization",
    "Content-Disposition": "attachment",
    # A cached page of the hub's own origin could otherwise be made of a user's bytes.
    "Content-Security-Policy": "sandbox; default-src 'none'",
}
MEDIA_TYPE = "application/octet-stream"
_PATHSEND = "http.response.pathsend"


def stored_response(hub: Hub, request: Request, at: StoredBytes, etag: str, headers: Mapping[str, str]) -> Response:
    """The bytes, or the part of them that the request wants."""
    all_headers = {**IMMUTABLE, "Accept-Ranges": "bytes", "ETag": f'"{etag}"', **headers}
    if f'"{etag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=all_headers)
    try:
        wanted = parse_range(request.headers.get("range"), at.stored_bytes)
    except Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{at.stored_bytes}"})
    if wanted is not None:
        return _part(hub, at, wanted, all_headers)
    return _whole(hub, request, at, all_headers)


def _part(hub: Hub, at: StoredBytes, wanted: ByteRange, headers: dict[str, str]) -> Response:
    headers |= {"Content-Length": str(wanted.length), "Content-Range": wanted.content_range}
    body = stream_verified(hub.blobs, at, start=wanted.start, length=wanted.length)
    return StreamingResponse(body, 206, headers, media_type=MEDIA_TYPE)


def _whole(hub: Hub, request: Request, at: StoredBytes, headers: dict[str, str]) -> Response:
    headers["Content-Length"] = str(at.stored_bytes)
    path = hub.blobs.local_path(at.key)
    if path is None or _PATHSEND not in request.scope.get("extensions", {}):
        return StreamingResponse(stream_verified(hub.blobs, at), headers=headers, media_type=MEDIA_TYPE)
    return FileSendResponse(path, at, headers)


class FileSendResponse(Response):
    """A file that the server sends by itself, without passing the bytes through Python.

    So their checksum is not looked at here: the reader of a chunk checks it, from the answer's own header, and then
    the digest of what is in it.
    """

    def __init__(self, path: Path, at: StoredBytes, headers: Mapping[str, str]) -> None:
        try:
            is_sound = path.stat().st_size == at.stored_bytes
        except OSError:
            is_sound = False
        if not is_sound:
            raise DataCorrupt("A stored blob")
        super().__init__(headers=headers, media_type=MEDIA_TYPE)
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": _PATHSEND, "path": str(self._path)})
