"""``/pushes``: a native push, from its order to its receipt."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header
from starlette.responses import Response

from palomar.contract import v1
from palomar.contract.errors import TooLarge
from palomar.documents.facts import Encoding
from palomar.documents.kinds import DocumentKind
from palomar.server.artifacts.listing import find_committed
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.artifacts.native_chunks import NativePusher, receive_chunk
from palomar.server.artifacts.native_commit import commit_push as commit
from palomar.server.artifacts.native_push import abort_push, missing_chunks, open_push
from palomar.server.artifacts.native_recipe import KnownPart, SentPart, cook_chunk
from palomar.server.artifacts.values import PushRequest
from palomar.server.web.sending import MEDIA_TYPE
from palomar.server.web.v1 import shapes
from palomar.server.web.v1.calls import Account, Call, NativeRoute, body_pieces
from palomar.server.web.v1.versions import PathDigest

router = APIRouter(route_class=NativeRoute, tags=["pushes"])

_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}
_CHUNK = "/pushes/{push_id}/chunks/{digest}"


@router.post("/pushes", status_code=201)
async def start_push(call: Account, order: v1.PushOrder) -> v1.PushOpened:
    """Opens a push. What its commit would refuse for its name or owner is refused now."""
    request = PushRequest(
        name=order.name,
        type=DOCUMENT_ARRAY,
        is_public=order.is_public,
        metadata=order.metadata,
        message=order.message,
        base_version=order.base_version,
    )
    async with call.hub.database.write() as session:
        kind = DocumentKind(order.kind)
        opened = await open_push(session, call.subject, request, kind, call.hub.artifact_rules)
    return v1.PushOpened(push_id=opened.push_id, expires_at=opened.expires_at)


@router.post("/pushes/{push_id}/missing")
async def ask_missing(call: Account, push_id: str, question: v1.ChunkQuestion) -> v1.ChunkAnswer:
    """Which chunks must be sent: all but those that this push has and those that the target namespace references."""
    return v1.ChunkAnswer(missing=await missing_chunks(call.hub.database, call.subject, push_id, question.digests))


@router.put(_CHUNK, status_code=204, openapi_extra=_BODY)
async def send_chunk(
    call: Account,
    push_id: str,
    digest: PathDigest,
    palomar_encoding: Annotated[v1.ChunkEncoding, Header()],
) -> None:
    """Stores a chunk for this push: its stored bytes, checked as they arrive. It may be sent again."""
    _check_length(call)
    encoding = Encoding(palomar_encoding)
    await receive_chunk(_pusher(call), call.subject, push_id, digest, encoding, body_pieces(call.request))


@router.put(_CHUNK + "/recipe", status_code=204)
async def send_recipe(call: Account, push_id: str, digest: PathDigest, recipe: v1.Recipe) -> None:
    """Has the hub put a chunk together, of documents that are sent and documents that the caller may read."""
    await cook_chunk(_pusher(call), call.subject, push_id, digest, [_part(part) for part in recipe.parts])


@router.post("/pushes/{push_id}/commit", status_code=201)
async def commit_push(call: Account, push_id: str, order: v1.Commit) -> v1.Receipt:
    """Makes the version. Repeated within the hour, it answers with the same receipt."""
    version_id = await commit(_pusher(call), call.subject, push_id, order.manifest)
    async with call.hub.database.read() as session:
        found, listed = await find_committed(session, version_id)
        return shapes.receipt(found, listed, call.subject)


@router.delete("/pushes/{push_id}", status_code=204, response_class=Response)
async def delete_push(call: Account, push_id: str) -> None:
    """Gives the push up."""
    await abort_push(call.hub.database, call.subject, push_id)


def _pusher(call: Call) -> NativePusher:
    hub = call.hub
    return NativePusher(hub.database, hub.blobs, hub.artifact_rules, hub.arrays)


def _check_length(call: Call) -> None:
    """Refused before the body is read, where the body says how long it is."""
    limit = call.hub.artifact_rules.ingest_limits.max_member_bytes
    announced = call.request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge("The chunk", limit)


def _part(part: v1.NewDocuments | v1.KnownDocuments) -> SentPart | KnownPart:
    if isinstance(part, v1.NewDocuments):
        return SentPart(part.documents)
    return KnownPart(part.array, part.version, part.start, part.stop)
