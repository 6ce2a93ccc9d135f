"""Pushing: bytes first, under a lease; then one transaction that makes the version, or nothing.

Old clients send the file before they say what it is called, so a push takes in bytes, learns its target later, and
commits when both are complete. Whatever goes wrong before the commit leaves the hub as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter, BadRequestBody, TooLarge
from palomar.documents.facts import ChunkFacts, SealedChunk
from palomar.documents.ingest import Event, IngestLimits, LargeBytes, LargeClosed, LargeOpened, StreamIngest
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.server.access.policy import Subject
from palomar.server.artifacts.commit import Committed, commit_version
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.values import Content, PushRequest, Receipt
from palomar.server.blobs.leases import hold_lease
from palomar.server.blobs.models import BlobKind
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.staging import BlobName, StagedStream, Staging
from palomar.server.db.engine import Database

# Chunks are stored in the background while the next ones are taken in, this many bytes at a time.
_BATCH_BYTES = 8 * 1024 * 1024
# Body pieces are handed to a thread in blocks, so that the hop costs little beside the work.
_FEED_BYTES = 512 * 1024


class Intake(Protocol):
    """Takes the bytes of one file part in, and knows at the end what they are."""

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> Content: ...

    async def abandon(self) -> None: ...


@dataclass(slots=True)
class Pusher:
    """Begins pushes; one per hub."""

    database: Database
    store: BlobStore
    rules: ArtifactRules

    @asynccontextmanager
    async def begin(self, subject: Subject) -> AsyncIterator[Push]:
        """A push that was not committed when this is left never happened."""
        async with hold_lease(self.database) as lease:
            staging = Staging(self.database, self.store, lease=lease)
            push = Push(self, staging, subject)
            try:
                yield push
            finally:
                await asyncio.shield(push.close())


@dataclass(slots=True)
class Push:
    """One push, from its first byte to its receipt."""

    pusher: Pusher
    staging: Staging
    subject: Subject
    _intake: Intake | None = field(default=None, init=False)
    _received_bytes: int = field(default=0, init=False)

    @property
    def has_file(self) -> bool:
        return self._intake is not None

    def open_array(self) -> None:
        """The bytes that follow are an old client's DocumentArray stream."""
        self._open(ArrayIntake(self.staging, self.pusher.rules.ingest_limits))

    def open_file(self) -> None:
        """The bytes that follow are nobody's business."""
        self._open(FileIntake(self.staging))

    def _open(self, intake: Intake) -> None:
        if self._intake is not None:
            raise BadRequestBody("it has two file parts; send one")
        self._intake = intake

    async def write(self, data: bytes) -> None:
        """Raises TooLarge, MalformedStream, CountMismatch, StorageFull as soon as it can be known."""
        self._received_bytes += len(data)
        if self._received_bytes > self.pusher.rules.max_push_bytes:
            raise TooLarge("The push", self.pusher.rules.max_push_bytes)
        await self._known_intake().write(data)

    async def finish_file(self) -> Content:
        return await self._known_intake().finish()

    async def reread_as_array(self, content: Content) -> Content:
        """For a file that turned out to be a DocumentArray only after it had been sent."""
        self._intake = ArrayIntake(self.staging, self.pusher.rules.ingest_limits)
        async for block in self.staging.read_back(content.blob):
            await self._intake.write(block)
        return await self._intake.finish()

    async def commit(self, request: PushRequest, content: Content) -> Receipt:
        """Durable when it returns. Raises what the names, the access rules and the quota say."""
        if request.is_document_array != (content.kind is not None):
            raise BadParameter("type", "it contradicts the file that was sent")
        rules = self.pusher.rules
        return await self.commit_with(
            lambda session: commit_version(session, self.staging, self.subject, request, content, rules)
        )

    async def commit_with(self, write: Callable[[AsyncSession], Awaitable[Committed]]) -> Receipt:
        """As `commit`, for who finds the target in their own way."""
        async with self.pusher.database.write() as session:
            receipt, adopted = await write(session)
            self.staging.hand_over(adopted)
        return receipt

    async def close(self) -> None:
        if self._intake is not None:
            await self._intake.abandon()
        await self.staging.discard()

    def _known_intake(self) -> Intake:
        if self._intake is None:
            raise BadRequestBody("it has no file part")
        return self._intake


class ArrayIntake:
    """An old client's stream: parsed in a thread, stored in the background, never whole in memory."""

    def __init__(self, staging: Staging, limits: IngestLimits) -> None:
        self._staging = staging
        self._limits = limits
        self._ingest = StreamIngest(limits)
        self._received_bytes = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._batch: list[SealedChunk] = []
        self._batch_bytes = 0
        self._storing: asyncio.Task[None] | None = None
        self._large: StagedStream | None = None
        self._chunks: list[ManifestChunk] = []
        self._index = IndexIntake(staging)

    async def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _FEED_BYTES:
            await self._feed()

    async def finish(self) -> Content:
        await self._feed()
        await self._take(await asyncio.to_thread(lambda: list(self._ingest.finish())))
        await self._store_batch()
        await self._stored()
        return await stage_array(self._staging, self._ingest.kind, self._chunks, await self._index.finish())

    async def abandon(self) -> None:
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        if self._large is not None:
            await self._large.__aexit__(None, None, None)
            self._large = None
        await self._index.abandon()

    async def _feed(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        if data:
            self._received_bytes += len(data)
            await self._take(await asyncio.to_thread(lambda: list(self._ingest.feed(data))))
            self._limits.check_stream(self._ingest.raw_bytes, self._received_bytes)

    async def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case SealedChunk():
                    await self._note(event.facts)
                    await self._queue(event)
                case LargeOpened():
                    self._large = await self._staging.stream().__aenter__()
                case LargeBytes():
                    await self._open_large().write(event.data)
                case LargeClosed():
                    await self._note(event.facts)
                    large, self._large = self._open_large(), None
                    await large.close_chunk(event.facts)
                    await large.__aexit__(None, None, None)

    def _open_large(self) -> StagedStream:
        if self._large is None:
            raise LookupError("no large document is open")
        return self._large

    async def _note(self, facts: ChunkFacts) -> None:
        self._chunks.append(ManifestChunk(facts.digest, facts.raw_bytes, facts.documents))
        await self._index.add(facts.index)

    async def _queue(self, chunk: SealedChunk) -> None:
        self._batch.append(chunk)
        self._batch_bytes += len(chunk.stored)
        if self._batch_bytes >= _BATCH_BYTES:
            await self._store_batch()

    async def _store_batch(self) -> None:
        """One batch is being stored while the next one fills: memory holds two."""
        await self._stored()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if batch:
            self._storing = asyncio.create_task(self._staging.add_chunks(batch))

    async def _stored(self) -> None:
        task, self._storing = self._storing, None
        if task is not None:
            await task


class IndexIntake:
    """The document index, streamed out: of very many small documents it is too large to hold."""

    def __init__(self, staging: Staging) -> None:
        self._file = FileIntake(staging)
        self._pending = bytearray()

    async def add(self, entries: bytes) -> None:
        self._pending += entries
        if len(self._pending) >= _FEED_BYTES:
            await self._flush()

    async def finish(self) -> BlobName:
        await self._flush()
        return (await self._file.finish()).blob

    async def abandon(self) -> None:
        await self._file.abandon()

    async def _flush(self) -> None:
        data, self._pending = bytes(self._pending), bytearray()
        await self._file.write(data)


async def stage_array(staging: Staging, kind: DocumentKind, chunks: list[ManifestChunk], index: BlobName) -> Content:
    """The manifest of an array whose chunks and index are staged."""
    manifest = Manifest.of(kind, chunks)
    return Content(
        kind=kind,
        blob=await staging.add_opaque(await asyncio.to_thread(manifest.encode)),
        index=index,
        chunks=tuple((BlobKind.CHUNK, chunk.digest) for chunk in chunks),
        documents=manifest.documents,
        raw_bytes=manifest.raw_bytes,
    )


class FileIntake:
    """Opaque bytes, streamed to one blob."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._stream: StagedStream | None = None

    async def write(self, data: bytes) -> None:
        await (await self._opened()).write(data)

    async def finish(self) -> Content:
        stream = await self._opened()
        name = await stream.close_opaque()
        await self.abandon()
        return Content(kind=None, blob=name, raw_bytes=stream.written_bytes)

    async def abandon(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.__aexit__(None, None, None)

    async def _opened(self) -> StagedStream:
        if self._stream is None:
            self._stream = await self._staging.stream().__aenter__()
        return self._stream
