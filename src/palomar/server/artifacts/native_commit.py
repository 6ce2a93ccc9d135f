"""The end of a native push: from a manifest whose chunks are known to a version.

Nothing of the manifest is believed. Sizes and counts are compared with what the hub found out about each chunk, the
boundaries with the cutting rule, and the document index is made of entries that the hub computed itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter, MalformedStream, TooLarge
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES, RULE, ends_chunk, fits
from palomar.documents.index import ENTRY_BYTES, DocumentIndex
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.server.access.policy import Subject
from palomar.server.artifacts.commit import commit_version
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Version
from palomar.server.artifacts.native_chunks import NativePusher
from palomar.server.artifacts.native_push import (
    PushChunk,
    PushRow,
    find_push,
    referenced_chunks,
    renew_push,
)
from palomar.server.artifacts.push import IndexIntake, stage_array
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.values import Content
from palomar.server.blobs.leases import BlobLease, hold_lease
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.staging import Staging

# Each may have an index of a mebibyte, if it holds nothing but tiny documents.
_CHUNKS_PER_QUERY = 64
_SHOWN_DIGITS = 12


async def commit_push(pusher: NativePusher, subject: Subject, push_id: str, manifest: bytes) -> str:
    """The version's id, durable on return; repeated, the one that the first commit made. Raises VersionConflict."""
    async with pusher.database.read() as session:
        push = await find_push(session, subject, push_id, may_be_committed=True)
        if push.version_id is not None:
            return push.version_id
    decoded = await asyncio.to_thread(_decode, manifest, push.kind, pusher.rules)
    async with hold_lease(pusher.database) as lease:
        staging = Staging(pusher.database, pusher.store, lease=lease)
        try:
            content = await _Gathering(pusher, push, staging).run(decoded)
            return await _write(pusher, subject, push_id, staging, content)
        finally:
            await asyncio.shield(staging.discard())


def _decode(data: bytes, kind: DocumentKind, rules: ArtifactRules) -> Manifest:
    manifest = Manifest.decode(data)
    if manifest.kind is not kind:
        raise BadParameter("manifest", f"it is of kind {manifest.kind}, and the push of {kind}")
    if manifest.documents > rules.ingest_limits.max_documents:
        words = f"it has {manifest.documents:,} documents, at most {rules.ingest_limits.max_documents:,} may be"
        raise BadParameter("manifest", words)
    if manifest.raw_bytes > rules.max_push_bytes:
        raise TooLarge("The push", rules.max_push_bytes)
    return manifest


async def _write(pusher: NativePusher, subject: Subject, push_id: str, staging: Staging, content: Content) -> str:
    async with pusher.database.write() as session:
        push = await find_push(session, subject, push_id, is_locked=True, may_be_committed=True)
        if push.version_id is not None:
            return push.version_id
        request = push.as_request(DOCUMENT_ARRAY)
        receipt, adopted = await commit_version(session, staging, subject, request, content, pusher.rules)
        version_id = await _made(session, receipt.artifact_id, receipt.version)
        await _close(session, push, version_id)
        staging.hand_over(adopted)
    return version_id


async def _made(session: AsyncSession, artifact_id: str, number: int) -> str:
    made = select(Version.id).where(Version.artifact_id == artifact_id, Version.number == number)
    return (await session.scalars(made)).one()


async def _close(session: AsyncSession, push: PushRow, version_id: str) -> None:
    """From now on the version references the chunks; the push stays for an hour, to be found by a repeated commit."""
    await renew_push(session, push)
    push.version_id = version_id
    await session.execute(delete(PushChunk).where(PushChunk.push_id == push.id))
    await session.execute(delete(BlobLease).where(BlobLease.id == push.id))
    await session.flush()


class _Known(NamedTuple):
    """What the hub knows of a chunk that the push may count on."""

    raw_bytes: int
    documents: int
    index_entries: bytes | None
    version_id: str | None


@dataclass(slots=True)
class _Gathering:
    """Compares a manifest with what the hub knows, chunk by chunk, and makes the index on the way."""

    pusher: NativePusher
    push: PushRow
    staging: Staging
    _places: dict[str, _Places] = field(default_factory=dict, init=False)

    async def run(self, manifest: Manifest) -> Content:
        index, cuts = IndexIntake(self.staging), _CutCheck()
        try:
            for start in range(0, len(manifest.chunks), _CHUNKS_PER_QUERY):
                batch = manifest.chunks[start : start + _CHUNKS_PER_QUERY]
                known = await self._known([chunk.digest for chunk in batch])
                for chunk in batch:
                    entries = await self._entries(chunk, known[chunk.digest])
                    cuts.add(chunk, entries)
                    await index.add(entries)
            content = await stage_array(self.staging, manifest.kind, list(manifest.chunks), await index.finish())
        finally:
            await index.abandon()
        self.staging.count_on(content.chunks)
        return content

    async def _known(self, digests: Sequence[str]) -> dict[str, _Known]:
        async with self.pusher.database.read() as session:
            own = await referenced_chunks(session, self.push, digests)
            uploaded = await self._uploaded(session, digests)
            query = select(BlobRow.digest, BlobRow.raw_bytes, BlobRow.documents)
            rows = (
                await session.execute(
                    query.where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest.in_(own.keys() | uploaded.keys()))
                )
            ).all()
        known = {
            digest: _Known(raw_bytes, documents, uploaded.get(digest), own.get(digest))
            for digest, raw_bytes, documents in rows
        }
        _refuse_missing([digest for digest in dict.fromkeys(digests) if digest not in known])
        return known

    async def _uploaded(self, session: AsyncSession, digests: Sequence[str]) -> dict[str, bytes]:
        query = select(BlobRow.digest, PushChunk.index_entries).join(PushChunk, PushChunk.blob_id == BlobRow.id)
        query = query.where(PushChunk.push_id == self.push.id, BlobRow.digest.in_(digests))
        return dict((await session.execute(query)).all())

    async def _entries(self, chunk: ManifestChunk, known: _Known) -> bytes:
        """The chunk's part of the document index."""
        if (chunk.raw_bytes, chunk.documents) != (known.raw_bytes, known.documents):
            words = f"the manifest is wrong about chunk {chunk.digest[:_SHOWN_DIGITS]}: it has {known.documents}"
            raise MalformedStream(f"{words} documents and {known.raw_bytes} raw bytes")
        if known.index_entries is not None:
            return known.index_entries
        place = await self._places_in(known.version_id or "")
        start = place.starts[chunk.digest]
        return await self.pusher.reader.index_bytes(place.version, start, start + chunk.documents)

    async def _places_in(self, version_id: str) -> _Places:
        if version_id not in self._places:
            async with self.pusher.database.read() as session:
                version = await session.get_one(Version, version_id)
            manifest = await self.pusher.reader.manifest(version)
            starts = {chunk.digest: manifest.start_of(number) for number, chunk in enumerate(manifest.chunks)}
            self._places[version_id] = _Places(version, starts)
        return self._places[version_id]


def _refuse_missing(digests: Sequence[str]) -> None:
    if digests:
        words = f"chunk {digests[0][:_SHOWN_DIGITS]} and {len(digests) - 1} more of the same stretch"
        raise BadParameter("manifest", f"{words} are not in this push: ask which are missing, send them, commit again")


class _Places(NamedTuple):
    """A version and the position of the first document of each of its chunks."""

    version: Version
    starts: dict[str, int]


@dataclass(slots=True)
class _CutCheck:
    """That between two chunks the rule puts a boundary; that it puts none within one was checked at its upload."""

    _before: ManifestChunk | None = field(default=None, init=False)
    _last: bytes = field(default=b"", init=False)

    def add(self, chunk: ManifestChunk, entries: bytes) -> None:
        if len(entries) != chunk.documents * ENTRY_BYTES:
            raise MalformedStream("the manifest and the document index disagree")
        if self._before is not None and not self._is_boundary(self._before, DocumentIndex(entries[:ENTRY_BYTES])):
            words = f"cutting rule {RULE} puts no boundary before chunk {chunk.digest[:_SHOWN_DIGITS]}"
            raise MalformedStream(words)
        self._before, self._last = chunk, entries[-ENTRY_BYTES:]

    def _is_boundary(self, before: ManifestChunk, following: DocumentIndex) -> bool:
        length, digest = DocumentIndex(self._last).entry(0)
        if length > MAX_DOCUMENT_BYTES:
            return True
        if not fits(before.raw_bytes, following.entry(0).length + LENGTH_BYTES):
            return True
        return ends_chunk(before.raw_bytes, before.documents, length + LENGTH_BYTES, digest)
