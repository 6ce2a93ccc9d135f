"""``/arrays/{namespace}/{name}/versions``: receipts, stored bytes, documents, previews, downloads."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.responses import RedirectResponse, Response, StreamingResponse

from palomar.contract import v1
from palomar.contract.errors import BadParameter
from palomar.server.artifacts.chunk_access import ChunkAsked, find_chunk
from palomar.server.artifacts.listing import list_version, list_version_page
from palomar.server.artifacts.models import Version
from palomar.server.artifacts.reader import StoredChunk
from palomar.server.artifacts.slices import measure, preview_documents, raw_documents, stored_chunk
from palomar.server.web.address import base_url
from palomar.server.web.download import download_url
from palomar.server.web.sending import MEDIA_TYPE
from palomar.server.web.v1 import shapes
from palomar.server.web.v1.arrays import Cursor, Limit
from palomar.server.web.v1.calls import Anyone, Call, NativeRoute, from_cursor, to_cursor
from palomar.server.web.v1.chunk_route import CHUNK, chunk_response
from palomar.server.web.v1.finding import find_array, find_version, parse_path
from palomar.server.web.v1.stored import IMMUTABLE, stored_response

router = APIRouter(route_class=NativeRoute, tags=["versions"])

_PREVIEW_BYTES = 16 * 1024 * 1024

Number = Annotated[int, Path(ge=1, lt=2**31)]
PathDigest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Start = Annotated[int, Query(ge=0, lt=2**63)]
Stop = Annotated[int | None, Query(ge=0, lt=2**63)]


def _bytes(description: str) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
    return {"description": description, "content": content}


_STORED: dict[int | str, dict[str, Any]] = {
    200: _bytes("All of it"),
    206: _bytes("The range that was asked for"),
    304: {"description": "The caller has it already"},
    416: {"description": "The range begins behind the end"},
}
_VERSIONS = "/arrays/{namespace}/{name}/versions"
_VERSION = _VERSIONS + "/{number}"


@router.get(_VERSIONS)
async def list_versions(
    call: Anyone, namespace: str, name: str, limit: Limit = 50, cursor: Cursor = None
) -> v1.VersionPage:
    """The newest first. Versions whose content was given up after a deletion are not listed."""
    before = None if cursor is None else from_cursor(cursor, int)[0]
    async with call.hub.database.read() as session:
        found = await find_array(session, call.subject, namespace, name)
        listed = await list_version_page(session, found.artifact, before=before, limit=limit)
    receipts = [shapes.receipt(found, one, call.subject) for one in listed[:limit]]
    more = to_cursor(receipts[-1].version) if len(listed) > limit else None
    return v1.VersionPage(versions=receipts, next_cursor=more)


@router.get(_VERSION)
async def get_version(call: Anyone, namespace: str, name: str, number: Number) -> v1.VersionDetail:
    """The receipt of a push."""
    async with call.hub.database.read() as session:
        found, version = await find_version(session, call.subject, namespace, name, number)
        return shapes.version_detail(found, await list_version(session, version.id), call.subject)


@router.get(_VERSION + "/manifest", responses=_STORED, response_class=Response)
async def get_manifest(call: Anyone, namespace: str, name: str, number: Number) -> Response:
    """The manifest's bytes; their SHA-256 is the version's digest, and the ETag."""
    version = await _version(call, namespace, name, number)
    at = await call.hub.arrays.stored(version.content_id)
    return stored_response(call.hub, call.request, at, version.digest, {})


@router.get(_VERSION + "/index", responses=_STORED, response_class=Response)
async def get_index(call: Anyone, namespace: str, name: str, number: Number) -> Response:
    """The document index: 20 bytes per document, so ranges find what is wanted."""
    version = await _version(call, namespace, name, number)
    at = await call.hub.arrays.stored(version.index_id)
    return stored_response(call.hub, call.request, at, at.stored_digest, {})


@router.get(CHUNK, responses=_STORED, response_class=Response)
async def get_chunk(call: Anyone, namespace: str, name: str, number: Number, digest: PathDigest) -> Response:
    """A chunk of this version, as it is stored: two headers say in which encoding and with which SHA-256."""
    chunk = await _chunk(call, namespace, name, number, digest)
    return chunk_response(call.hub, call.request, chunk)


@router.get(_VERSION + "/documents", responses={200: _bytes("Documents")}, response_class=Response)
async def get_documents(
    call: Anyone, namespace: str, name: str, number: Number, start: Start = 0, stop: Stop = None
) -> Response:
    """Documents `start` to `stop`, each with its length (u32 big-endian) before it.

    An answer ends after 64 MiB: the header Palomar-Documents says where, as `start-stop/total`.
    """
    version = await _version(call, namespace, name, number)
    stop = _stop(start, stop, limit=v1.MAX_DOCUMENTS_PER_ANSWER, default=v1.MAX_DOCUMENTS_PER_ANSWER)
    part = await measure(call.hub.arrays, version, start, stop, max_bytes=v1.MAX_DOCUMENT_BYTES_PER_ANSWER)
    headers = {
        **IMMUTABLE,
        "Content-Length": str(part.raw_bytes),
        v1.DOCUMENTS_HEADER: f"{part.start}-{part.stop}/{version.documents}",
    }
    body = raw_documents(call.hub.arrays, call.hub.blobs, version, part)
    return StreamingResponse(body, headers=headers, media_type=MEDIA_TYPE)


@router.get(_VERSION + "/preview")
async def get_preview(
    call: Anyone, namespace: str, name: str, number: Number, start: Start = 0, stop: Stop = None
) -> v1.PreviewPage:
    """What is in documents `start` to `stop`, shortened; fewer when they are large."""
    version = await _version(call, namespace, name, number)
    stop = _stop(start, stop, limit=v1.MAX_PREVIEWS, default=10)
    part = await measure(call.hub.arrays, version, start, stop, max_bytes=_PREVIEW_BYTES, skips_large=True)
    previews = await preview_documents(call.hub.arrays, version, part)
    shown = [v1.DocumentPreview(position=at, raw_bytes=size, document=view) for at, size, view in previews]
    return v1.PreviewPage(
        kind=v1.Kind(version.document_kind or ""), start=part.start, total=version.documents, documents=shown
    )


@router.get(
    _VERSION + "/download",
    response_model=v1.DownloadUrl,
    responses={307: {"description": "To the URL that opens the stream"}},
)
async def get_download(
    call: Anyone, namespace: str, name: str, number: Number, *, redirect: bool = True
) -> v1.DownloadUrl | Response:
    """The stream that docarray reads; with `redirect=false` its URL, which needs no credential for a while."""
    version = await _version(call, namespace, name, number)
    settings = call.hub.settings
    url = download_url(call.hub, base_url(call.request, settings), version.id)
    if redirect:
        return RedirectResponse(url, 307)
    return v1.DownloadUrl(url=url, stream_bytes=version.stream_bytes, expires_in_s=settings.download_url_ttl_s)


async def _chunk(call: Call, namespace: str, name: str, number: int, digest: str) -> StoredChunk:
    path = parse_path(namespace, name)
    if path is not None:
        asked = ChunkAsked(path, f"{namespace}/{name}", number, digest)
        return await find_chunk(call.hub.database, call.subject, asked)
    async with call.hub.database.read() as session:
        _, version = await find_version(session, call.subject, namespace, name, number)
        return await stored_chunk(session, version, digest)


async def _version(call: Call, namespace: str, name: str, number: int) -> Version:
    async with call.hub.database.read() as session:
        _, version = await find_version(session, call.subject, namespace, name, number)
    return version


def _stop(start: int, stop: int | None, *, limit: int, default: int) -> int:
    if stop is None:
        return start + default
    if stop < start:
        raise BadParameter("stop", "it must not be before start")
    if stop - start > limit:
        raise BadParameter("stop", f"at most {limit:,} documents at once")
    return stop
