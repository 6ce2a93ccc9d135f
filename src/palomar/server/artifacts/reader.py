"""Reading one version: its manifest, its chunks, its documents, and the stream that an old client expects."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from sqlalchemy import select

from palomar.contract.errors import DataCorrupt, NotFound, TooLarge
from palomar.documents.chunks import document_at, pad_frame_head, pad_last_frame, split, to_members
from palomar.documents.facts import Encoding
from palomar.documents.index import ENTRY_BYTES, DocumentIndex
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import ChunkSlice, Manifest
from palomar.documents.render import STREAM_HEADER_BYTES, stream_header
from palomar.server.artifacts.models import Version
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.verified import StoredBytes, read_verified, stream_verified
from palomar.server.db.engine import Database

_CHUNKS_PER_QUERY = 256
_CHUNKS_AHEAD = 3
# A chunk above this is one large document: it is streamed and never held.
_WHOLE_CHUNK_BYTES = 8 * 1024 * 1024
# Length prefix and gzip header of a frame, which padding rewrites.
_FRAME_HEAD_BYTES = 14
_CACHED_MANIFEST_CHUNKS = 200_000


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as the store has it."""

    digest: str
    at: StoredBytes
    encoding: Encoding
    members_bytes: int
    documents: int

    @property
    def is_large(self) -> bool:
        return self.at.stored_bytes > _WHOLE_CHUNK_BYTES


class ManifestCache:
    """Manifests never change, so the most recent ones are kept decoded."""

    def __init__(self, *, max_chunks: int = _CACHED_MANIFEST_CHUNKS) -> None:
        self._kept: OrderedDict[str, Manifest] = OrderedDict()
        self._max_chunks = max_chunks
        self._chunks = 0

    def get(self, digest: str) -> Manifest | None:
        manifest = self._kept.get(digest)
        if manifest is not None:
            self._kept.move_to_end(digest)
        return manifest

    def put(self, digest: str, manifest: Manifest) -> None:
        if digest in self._kept:
            return
        self._kept[digest] = manifest
        self._chunks += len(manifest.chunks) + 1
        while self._chunks > self._max_chunks and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._chunks -= len(dropped.chunks) + 1


class ArrayReader:
    """Reads versions of DocumentArrays; one per hub. Access was decided before."""

    def __init__(self, database: Database, store: BlobStore) -> None:
        self._database = database
        self._store = store
        self._manifests = ManifestCache()

    async def manifest(self, version: Version) -> Manifest:
        manifest = self._manifests.get(version.digest)
        if manifest is None:
            data = await read_verified(self._store, await self.stored(version.content_id))
            manifest = await asyncio.to_thread(Manifest.decode, data)
            self._manifests.put(version.digest, manifest)
        return manifest

    async def index(self, version: Version, start: int, stop: int) -> DocumentIndex:
        """Entries ``start`` to ``stop`` of the document index."""
        return DocumentIndex(await self.index_bytes(version, start, stop))

    async def index_bytes(self, version: Version, start: int, stop: int) -> bytes:
        at = await self.stored(version.index_id)
        first = start * ENTRY_BYTES
        return await self._store.read_range(at.key, first, stop * ENTRY_BYTES - first)

    async def stored(self, blob_id: int | None) -> StoredBytes:
        """Raises NotFound for what was purged."""
        async with self._database.read() as session:
            columns = (BlobRow.key, BlobRow.stored_bytes, BlobRow.stored_digest)
            row = (await session.execute(select(*columns).where(BlobRow.id == blob_id))).first()
        if row is None:
            raise NotFound("content", "version")
        return StoredBytes(*row)

    async def chunks(self, digests: Sequence[str]) -> list[StoredChunk]:
        """In the order asked for; raises DataCorrupt when one is gone, which references make impossible."""
        columns = (
            BlobRow.digest,
            BlobRow.key,
            BlobRow.stored_bytes,
            BlobRow.stored_digest,
            BlobRow.encoding,
            BlobRow.members_bytes,
            BlobRow.documents,
        )
        query = select(*columns).where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest.in_(set(digests)))
        async with self._database.read() as session:
            rows = (await session.execute(query)).all()
        found = {
            row.digest: StoredChunk(
                row.digest,
                StoredBytes(row.key, row.stored_bytes, row.stored_digest),
                Encoding(row.encoding),
                row.members_bytes,
                row.documents,
            )
            for row in rows
        }
        try:
            return [found[digest] for digest in digests]
        except KeyError:
            raise DataCorrupt("A stored chunk") from None

    async def documents(self, version: Version, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Canonical documents ``start`` to ``stop``; only the chunks that hold them are read."""
        manifest = await self.manifest(version)
        parts = manifest.slice(start, stop)
        for begin in range(0, len(parts), _CHUNKS_PER_QUERY):
            batch = parts[begin : begin + _CHUNKS_PER_QUERY]
            stored = await self.chunks([manifest.chunks[part.chunk].digest for part in batch])
            for part, chunk in zip(batch, stored, strict=True):
                for document in await self._documents_of(chunk, part):
                    yield document

    async def _documents_of(self, chunk: StoredChunk, part: ChunkSlice) -> list[bytes]:
        if chunk.is_large:
            raise TooLarge("The document", _WHOLE_CHUNK_BYTES)
        data = await read_verified(self._store, chunk.at)
        if part.stop - part.start == 1:
            return [await asyncio.to_thread(document_at, chunk.encoding, data, part.start)]
        return (await asyncio.to_thread(lambda: list(split(chunk.encoding, data))))[part.start : part.stop]

    async def old_stream(self, version: Version, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes ``start`` to ``stop`` of the stream that docarray reads; ``stream_bytes`` of them in all."""
        header = stream_header(DocumentKind(version.document_kind or ""), version.documents)
        if start < STREAM_HEADER_BYTES:
            yield header[start:stop]
        async with aclosing(self._members(version, start, stop)) as pieces:
            async for piece in pieces:
                yield piece

    async def _members(self, version: Version, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        spans = self._spans(version, start, stop)
        ahead: deque[asyncio.Task[bytes]] = deque()
        try:
            async for span in spans:
                if not span.chunk.is_large:
                    ahead.append(asyncio.create_task(self._render(span)))
                    if len(ahead) > _CHUNKS_AHEAD:
                        yield await ahead.popleft()
                    continue
                while ahead:
                    yield await ahead.popleft()
                async with aclosing(self._render_large(span)) as pieces:
                    async for piece in pieces:
                        yield piece
            while ahead:
                yield await ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()

    async def _spans(self, version: Version, start: int, stop: int) -> AsyncIterator[_Span]:
        """The chunks that the byte range touches, and which of their bytes it wants."""
        manifest = await self.manifest(version)
        position, last = STREAM_HEADER_BYTES, len(manifest.chunks) - 1
        for begin in range(0, len(manifest.chunks), _CHUNKS_PER_QUERY):
            digests = [chunk.digest for chunk in manifest.chunks[begin : begin + _CHUNKS_PER_QUERY]]
            for number, chunk in enumerate(await self.chunks(digests), begin):
                padding = version.padding_bytes if number == last else 0
                length = chunk.members_bytes + padding
                if position >= stop:
                    return
                if position + length > start:
                    yield _Span(chunk, padding, max(0, start - position), min(length, stop - position))
                position += length

    async def _render(self, span: _Span) -> bytes:
        data = await read_verified(self._store, span.chunk.at)
        if span.chunk.encoding is not Encoding.GZIP_MEMBERS:
            data = await asyncio.to_thread(to_members, span.chunk.encoding, data)
        if span.padding:
            data = pad_last_frame(data, span.padding)
        return data[span.start : span.stop]

    async def _render_large(self, span: _Span) -> AsyncGenerator[bytes, None]:
        """One large document's frame; padding, if any, only makes its head longer."""
        head_bytes = _FRAME_HEAD_BYTES + span.padding
        if span.padding and span.start < head_bytes:
            head = await self._store.read_range(span.chunk.at.key, 0, _FRAME_HEAD_BYTES)
            yield pad_frame_head(head, span.padding)[span.start : span.stop]
        begin = max(span.start, head_bytes) - span.padding if span.padding else span.start
        length = span.stop - span.padding - begin
        if length <= 0:
            return
        async with aclosing(stream_verified(self._store, span.chunk.at, start=begin, length=length)) as blocks:
            async for block in blocks:
                yield block


@dataclass(frozen=True, slots=True)
class _Span:
    """Bytes ``start`` to ``stop`` of one chunk's rendition, which ``padding`` makes longer."""

    chunk: StoredChunk
    padding: int
    start: int
    stop: int
