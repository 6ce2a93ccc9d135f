"""Documents of a version by position: raw, with their lengths, and as previews."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import DataCorrupt, NotFound
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES
from palomar.documents.facts import LENGTH, Encoding
from palomar.documents.kinds import DocumentKind
from palomar.documents.large import MemberInflater
from palomar.documents.preview import describe
from palomar.server.artifacts.models import Version, VersionChunk
from palomar.server.artifacts.reader import ArrayReader, StoredChunk
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.verified import StoredBytes, stream_verified


class Slice(NamedTuple):
    """Documents ``start`` to ``stop`` (exclusive) and their lengths."""

    start: int
    stop: int
    lengths: Sequence[int]

    @property
    def raw_bytes(self) -> int:
        """With the length before each document."""
        return sum(self.lengths) + LENGTH_BYTES * len(self.lengths)


class Preview(NamedTuple):
    """``view`` is None for a document that is too large to be shown."""

    position: int
    raw_bytes: int
    view: dict[str, Any] | None


async def measure(
    reader: ArrayReader, version: Version, start: int, stop: int, *, max_bytes: int, skips_large: bool = False
) -> Slice:
    """As many of the documents as ``max_bytes`` hold, and at least one if there is one.

    With ``skips_large`` documents that no preview shows cost nothing.
    """
    start, stop = min(start, version.documents), min(stop, version.documents)
    lengths: list[int] = []
    held = 0
    for entry in await reader.index(version, start, stop) if start < stop else ():
        if not (skips_large and entry.length > MAX_DOCUMENT_BYTES):
            held += LENGTH_BYTES + entry.length
        if lengths and held > max_bytes:
            break
        lengths.append(entry.length)
    return Slice(start, start + len(lengths), lengths)


async def raw_documents(
    reader: ArrayReader, store: BlobStore, version: Version, part: Slice
) -> AsyncGenerator[bytes, None]:
    """The raw form of a measured slice, in pieces; a large document is inflated as it passes by."""
    position = part.start
    for run in _runs(part):
        if len(run) == 1 and run[0] > MAX_DOCUMENT_BYTES:
            yield LENGTH.pack(run[0])
            async with aclosing(_large_document(reader, store, version, position)) as pieces:
                async for piece in pieces:
                    yield piece
        else:
            async for document in reader.documents(version, position, position + len(run)):
                yield LENGTH.pack(len(document)) + document
        position += len(run)


def _runs(part: Slice) -> list[list[int]]:
    """The lengths in order, each large document on its own."""
    runs: list[list[int]] = []
    for length in part.lengths:
        if runs and max(runs[-1][0], length) <= MAX_DOCUMENT_BYTES:
            runs[-1].append(length)
        else:
            runs.append([length])
    return runs


async def _large_document(
    reader: ArrayReader, store: BlobStore, version: Version, position: int
) -> AsyncGenerator[bytes, None]:
    chunk = await _chunk_of(reader, version, position)
    inflater, skip = MemberInflater(), LENGTH_BYTES
    async with aclosing(stream_verified(store, chunk.at)) as blocks:
        async for block in blocks:
            async for piece in _stepwise(inflater.feed(block[skip:])):
                yield piece
            skip = 0
    async for piece in _stepwise(inflater.finish()):
        yield piece


async def _chunk_of(reader: ArrayReader, version: Version, position: int) -> StoredChunk:
    manifest = await reader.manifest(version)
    number, _ = manifest.locate(position)
    return (await reader.chunks([manifest.chunks[number].digest]))[0]


async def _stepwise(pieces: Any) -> AsyncIterator[bytes]:
    """Inflates in a thread, a piece at a time: what has been inflated is never more than the reader takes."""
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece
    except ValueError:
        raise DataCorrupt("A stored chunk") from None


async def preview_documents(reader: ArrayReader, version: Version, part: Slice) -> list[Preview]:
    kind = DocumentKind(version.document_kind or "")
    previews: list[Preview] = []
    position = part.start
    for run in _runs(part):
        if run[0] > MAX_DOCUMENT_BYTES:
            previews.append(Preview(position, run[0], None))
        else:
            documents = [raw async for raw in reader.documents(version, position, position + len(run))]
            views = await asyncio.to_thread(_views, kind, documents)
            previews += [
                Preview(position + offset, len(raw), view)
                for offset, (raw, view) in enumerate(zip(documents, views, strict=True))
            ]
        position += len(run)
    return previews


def _views(kind: DocumentKind, documents: Sequence[bytes]) -> list[dict[str, Any]]:
    return [describe(kind, raw) for raw in documents]


async def stored_chunk(session: AsyncSession, version: Version, digest: str) -> StoredChunk:
    """A chunk that the version references; of any other digest nothing is said."""
    query = (
        select(BlobRow)
        .join(VersionChunk, VersionChunk.blob_id == BlobRow.id)
        .where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest == digest, VersionChunk.version_id == version.id)
    )
    blob = await session.scalar(query)
    if blob is None:
        raise NotFound("chunk", digest)
    at = StoredBytes(blob.key, blob.stored_bytes, blob.stored_digest)
    return StoredChunk(blob.digest, at, Encoding(blob.encoding), blob.members_bytes, blob.documents)
