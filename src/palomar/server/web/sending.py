"""Stored bytes as a response: sent by the server itself where that can be, else streamed through Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from palomar.contract.errors import DataCorrupt
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.web.ranges import ByteRange
from palomar.server.wiring import Hub

MEDIA_TYPE = "application/octet-stream"
_PATHSEND = "http.response.pathsend"


def send_stored(
    hub: Hub,
    request: Request,
    at: StoredBytes,
    headers: dict[str, str],
    *,
    part: ByteRange | None = None,
    media_type: str = MEDIA_TYPE,
) -> Response:
    """200 with all of it, or 206 with the part."""
    if part is not None:
        headers |= {"Content-Length": str(part.length), "Content-Range": part.content_range}
        body = stream_verified(hub.blobs, at, start=part.start, length=part.length)
        return StreamingResponse(body, 206, headers, media_type=media_type)
    headers["Content-Length"] = str(at.stored_bytes)
    path = hub.blobs.local_path(at.key)
    if path is None or _PATHSEND not in request.scope.get("extensions", {}):
        return StreamingResponse(stream_verified(hub.blobs, at), headers=headers, media_type=media_type)
    return FileSendResponse(path, at, headers, media_type)


class FileSendResponse(Response):
    """A file that the server sends by itself, without passing the bytes through Python.

    So their digest is not looked at here. Whoever asks for a chunk, a blob of an image or a
    package knows it, and checks it.
    """

    def __init__(self, path: Path, at: StoredBytes, headers: Mapping[str, str], media_type: str) -> None:
        try:
            is_sound = path.stat().st_size == at.stored_bytes
        except OSError:
            is_sound = False
        if not is_sound:
            raise DataCorrupt("A stored blob")
        super().__init__(headers=headers, media_type=media_type)
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": _PATHSEND, "path": str(self._path)})
