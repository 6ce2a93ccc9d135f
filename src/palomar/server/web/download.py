"""``/download/{version_id}``: what a signed URL opens.

Old clients read it with no credentials. They need the exact Content-Length and no Content-Encoding: docarray compares
the length with that of its cached file, and docarray 0.30-0.38 reads at most one HTTP chunk at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from palomar.contract.errors import NotFound, PalomarError
from palomar.server.artifacts.models import Artifact, Version
from palomar.server.blobs.verified import stream_verified
from palomar.server.executors.manage import downloadable_release
from palomar.server.web.errors import http_status
from palomar.server.web.ranges import ByteRange, Unsatisfiable, parse_range
from palomar.server.web.sending import send_stored
from palomar.server.web.signed_urls import check_signature, sign_path
from palomar.server.wiring import Hub

_ZIP = "application/zip"
_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, max-age=3600",
    "Content-Disposition": "attachment",
    # A cached page of the hub's own origin could otherwise be made of a user's bytes.
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def download_url(hub: Hub, base_url: str, version_id: str) -> str:
    path = f"/download/{version_id}"
    return base_url + sign_path(hub.identity.keys.url_secret, path, ttl_s=hub.settings.download_url_ttl_s)


def package_url(hub: Hub, base_url: str, release_id: str) -> str:
    path = f"/download/package/{release_id}"
    return base_url + sign_path(hub.identity.keys.url_secret, path, ttl_s=hub.settings.download_url_ttl_s)


async def download(request: Request) -> Response:
    hub = _signed_hub(request)
    version = await _find_version(hub, request.path_params["version_id"])
    try:
        wanted = parse_range(request.headers.get("range"), version.stream_bytes)
    except Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{version.stream_bytes}"})
    return _respond(hub, version, wanted, is_head=request.method == "HEAD")


def _signed_hub(request: Request) -> Hub:
    """The hub, for whoever has a URL that it signed. Raises NotFound."""
    hub: Hub = request.app.state.hub
    query = request.query_params
    check_signature(
        hub.identity.keys.url_secret,
        request.url.path,
        expires=query.get("expires", ""),
        signature=query.get("signature", ""),
    )
    return hub


async def _find_version(hub: Hub, version_id: str) -> Version:
    async with hub.database.read() as session:
        version = await session.get(Version, version_id)
        artifact = await session.get(Artifact, version.artifact_id) if version else None
    if version is None or version.purged_at is not None or artifact is None or artifact.deleted_at is not None:
        raise NotFound("download", version_id)
    return version


def _respond(hub: Hub, version: Version, wanted: ByteRange | None, *, is_head: bool) -> Response:
    part = wanted or ByteRange(0, version.stream_bytes, version.stream_bytes)
    headers = {**_HEADERS, "Content-Length": str(part.length), "ETag": f'"{version.digest}-{version.padding_bytes}"'}
    if wanted is not None:
        headers["Content-Range"] = wanted.content_range
    status = 200 if wanted is None else 206
    if is_head:
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    body = _body(hub, version, part)
    return StreamingResponse(body, status, headers, media_type="application/octet-stream")


async def _body(hub: Hub, version: Version, part: ByteRange) -> AsyncIterator[bytes]:
    if version.document_kind is not None:
        async for piece in hub.arrays.old_stream(version, part.start, part.stop):
            yield piece
        return
    at = await hub.arrays.stored(version.content_id)
    async for piece in stream_verified(hub.blobs, at, start=part.start, length=part.length):
        yield piece


async def download_package(request: Request) -> Response:
    """An Executor's package, byte for byte.

    Errors have empty bodies: jina does not look at the status, saves what comes as the zip, and the next pull would
    resume onto it. It does resume, with `Range: bytes=N-`, so 206 is a must.
    """
    try:
        return await _send_package(request)
    except PalomarError as error:
        return Response(status_code=http_status(error))


async def _send_package(request: Request) -> Response:
    hub = _signed_hub(request)
    async with hub.database.read() as session:
        release = await downloadable_release(session, request.path_params["release_id"])
    size = release.package_bytes
    try:
        wanted = parse_range(request.headers.get("range"), size)
    except Unsatisfiable:
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    headers = {**_HEADERS, "ETag": f'"{release.digest}"'}
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(size)}, media_type=_ZIP)
    at = await hub.arrays.stored(release.package_id)
    return send_stored(hub, request, at, headers, part=wanted, media_type=_ZIP)


def routes() -> list[Route]:
    return [
        Route("/download/package/{release_id}", download_package, methods=["GET", "HEAD"], name="download-package"),
        Route("/download/{version_id}", download, methods=["GET", "HEAD"], name="download"),
    ]
