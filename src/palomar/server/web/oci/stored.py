"""Blobs as answers: named by their digest, so they never change; in parts, or sent by the server itself."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from palomar.contract.images import OCTET_STREAM, ImageDigest
from palomar.server.registry.values import StoredBlob
from palomar.server.web.oci.answers import API_VERSION
from palomar.server.web.ranges import ByteRange, Unsatisfiable, parse_range
from palomar.server.web.sending import send_stored
from palomar.server.wiring import Hub

#: Of content that its digest names; 'private' since who may read it can change.
IMMUTABLE = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Authorization"}
# A blob is what somebody pushed: a cached page of the hub's own origin could otherwise be made of it.
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'", "Content-Disposition": "attachment"}
_BACKWARDS = re.compile(r"bytes=(\d{1,19})-(\d{1,19})", re.ASCII)


def digest_headers(digest: ImageDigest) -> dict[str, str]:
    return {"Docker-Content-Digest": str(digest), "ETag": f'"{digest}"'}


def is_known(request: Request, digest: ImageDigest) -> bool:
    """Whether the caller has it already (RFC 9110, section 13.1.2); comparison is weak, and '*' is any."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return f'"{digest}"' in tags or "*" in tags


def blob_response(hub: Hub, request: Request, blob: StoredBlob) -> Response:
    """The blob, or the part that is asked for; to HEAD what GET would say."""
    headers = {**API_VERSION, **IMMUTABLE, **_HARMLESS, "Accept-Ranges": "bytes", **digest_headers(blob.digest)}
    if is_known(request, blob.digest):
        return Response(status_code=304, headers=headers)
    try:
        wanted = _wanted(request, blob)
    except Unsatisfiable:
        return Response(status_code=416, headers={**API_VERSION, "Content-Range": f"bytes */{blob.size_bytes}"})
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(blob.size_bytes)}, media_type=OCTET_STREAM)
    return send_stored(hub, request, blob.at, headers, part=wanted)


def _wanted(request: Request, blob: StoredBlob) -> ByteRange | None:
    """Unlike elsewhere in the hub, a range that ends before it begins is refused, as the conformance program asks.

    `If-Range` with anything but this blob's tag asks for the whole (RFC 9110, section 13.1.5).
    """
    header = request.headers.get("range")
    if request.method == "HEAD" or request.headers.get("if-range", f'"{blob.digest}"') != f'"{blob.digest}"':
        return None
    backwards = _BACKWARDS.fullmatch((header or "").strip())
    if backwards and int(backwards[2]) < int(backwards[1]):
        raise Unsatisfiable
    return parse_range(header, blob.size_bytes)
