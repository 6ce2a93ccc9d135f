"""Chunks of a native push: taken in, checked as thoroughly as an old client's stream, stored once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import Busy, DigestMismatch, MalformedStream, TooLarge
from palomar.documents.chunking import LENGTH_BYTES
from palomar.documents.facts import LENGTH, ChunkFacts, Encoding, SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.large import LargeDocument
from palomar.documents.uploaded import facts_from_members, facts_from_zstd
from palomar.server.access.policy import Subject
from palomar.server.artifacts.native_push import PushChunk, PushRow, fresh_push, renewing, still_fresh
from palomar.server.artifacts.reader import ArrayReader
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.blobs.leases import Lease, hold_lease
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.staging import StagedStream, Staging
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.quota import check_quota

# No chunk of several documents is larger, in either encoding; what is larger is one document, and streamed.
_WHOLE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class NativePusher:
    """What native pushes work with."""

    database: Database
    store: BlobStore
    rules: ArtifactRules
    reader: ArrayReader


async def receive_chunk(
    pusher: NativePusher, subject: Subject, push_id: str, digest: str, encoding: Encoding, body: AsyncIterator[bytes]
) -> None:
    """Durable on return, and the same when it is sent again. Raises MalformedStream, DigestMismatch, TooLarge."""
    push = await fresh_push(pusher.database, subject, push_id)
    head, is_whole = await _read_whole(body)
    if is_whole:
        sealed = await asyncio.to_thread(_seal, head, encoding, push.kind, pusher.rules)
        await store_chunk(pusher, subject, push, digest, sealed)
    elif encoding is Encoding.ZSTD:
        raise TooLarge("A zstd chunk", _WHOLE_BYTES)
    else:
        await _receive_large(pusher, subject, push, digest, _Source(head, body))


async def _read_whole(body: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The body, or as much of it as shows that it is too long to be held."""
    pieces: list[bytes] = []
    held = 0
    async for piece in body:
        pieces.append(piece)
        held += len(piece)
        if held > _WHOLE_BYTES:
            return b"".join(pieces), False
    return b"".join(pieces), True


def _seal(stored: bytes, encoding: Encoding, kind: DocumentKind, rules: ArtifactRules) -> SealedChunk:
    find_facts = facts_from_zstd if encoding is Encoding.ZSTD else facts_from_members
    return SealedChunk(find_facts(stored, kind, rules.ingest_limits), stored)


async def store_chunk(pusher: NativePusher, subject: Subject, push: PushRow, digest: str, sealed: SealedChunk) -> None:
    """A checked chunk."""
    _check_digest(digest, sealed.facts)
    # The body may have taken its time.
    push = await still_fresh(pusher.database, subject, push)
    staging = Staging(pusher.database, pusher.store, lease=Lease(push.id, push.created_at))
    try:
        await staging.add_chunks([sealed])
        await _keep(pusher, subject, push.id, staging, sealed.facts)
    finally:
        await asyncio.shield(staging.discard())


def _check_digest(digest: str, facts: ChunkFacts) -> None:
    if facts.digest != digest:
        raise DigestMismatch(digest, facts.digest)


async def _keep(pusher: NativePusher, subject: Subject, push_id: str, staging: Staging, facts: ChunkFacts) -> None:
    """The row that makes the staged chunk the push's own."""
    async with renewing(pusher.database, subject, push_id) as (session, push):
        adopted = await staging.adopt(session)
        blob = adopted[BlobKind.CHUNK, facts.digest]
        await _note_chunk(session, push, blob.id, blob.stored_bytes, facts.index)
        staging.hand_over(adopted)


async def _note_chunk(
    session: AsyncSession, push: PushRow, blob_id: int, stored_bytes: int, index_entries: bytes
) -> None:
    known = select(PushChunk.blob_id).where(PushChunk.push_id == push.id, PushChunk.blob_id == blob_id)
    if await session.scalar(known) is not None:
        return
    row = {"push_id": push.id, "blob_id": blob_id, "index_entries": index_entries}
    await insert_missing(session, PushChunk, [row])
    push.uploaded_bytes += stored_bytes
    await session.flush()
    await _check_quota(session, push)


async def _check_quota(session: AsyncSession, push: PushRow) -> None:
    """What open pushes hold counts too: else a push that is never committed could fill the disk."""
    quota = select(NamespaceRow.quota_bytes).where(NamespaceRow.id == push.namespace_id)
    if await session.scalar(quota) is None:
        return
    namespace = await session.get_one(NamespaceRow, push.namespace_id)
    open_pushes = select(func.coalesce(func.sum(PushRow.uploaded_bytes), 0)).where(
        PushRow.namespace_id == push.namespace_id, PushRow.version_id.is_(None)
    )
    await check_quota(session, namespace, await session.scalar(open_pushes) or 0)


async def link_chunk(pusher: NativePusher, subject: Subject, push_id: str, digest: str, index_entries: bytes) -> None:
    """A stored chunk whose documents the caller was found to be allowed to read."""
    async with renewing(pusher.database, subject, push_id) as (session, push):
        stored = select(BlobRow).where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest == digest)
        blob = await session.scalar(stored.with_for_update())
        if blob is None:
            raise Busy("What this push counts on was removed meanwhile")
        await _note_chunk(session, push, blob.id, blob.stored_bytes, index_entries)


# --- one large document --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Source:
    """A body of which the head has been read already."""

    head: bytes
    rest: AsyncIterator[bytes]

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.head
        async for piece in self.rest:
            yield piece


async def _receive_large(pusher: NativePusher, subject: Subject, push: PushRow, digest: str, source: _Source) -> None:
    # A lease of its own, renewed in the background: the body may take longer than the push's hour.
    async with hold_lease(pusher.database) as lease:
        staging = Staging(pusher.database, pusher.store, lease=lease)
        try:
            async with staging.stream() as stream:
                facts = await _stream_large(source, stream, push.kind, pusher.rules)
                _check_digest(digest, facts)
                await stream.close_chunk(facts)
            await _keep(pusher, subject, push.id, staging, facts)
        finally:
            await asyncio.shield(staging.discard())


async def _stream_large(source: _Source, stream: StagedStream, kind: DocumentKind, rules: ArtifactRules) -> ChunkFacts:
    """Checks the document as it passes by."""
    member_bytes: int = LENGTH.unpack_from(source.head)[0]
    rules.ingest_limits.check_member(member_bytes, 0)
    large = LargeDocument(kind, member_bytes=member_bytes, position=0, limits=rules.ingest_limits)
    skip = LENGTH_BYTES
    async for piece in source.pieces():
        if stream.written_bytes + len(piece) > LENGTH_BYTES + member_bytes:
            raise MalformedStream("other bytes follow a document that must be a chunk of its own")
        await asyncio.to_thread(large.feed, piece[skip:])
        await stream.write(piece)
        skip = 0
    if stream.written_bytes < LENGTH_BYTES + member_bytes:
        raise MalformedStream("the chunk is cut off")
    return await asyncio.to_thread(large.finish)
