"""Recipes: a chunk put together on the hub, from documents that are sent and documents that the hub has.

A client that changed a few documents of a chunk sends only those. A recipe reads what its author may read, and no more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from palomar.contract.errors import BadParameter, DigestMismatch, MalformedStream, TooLarge
from palomar.documents.chunking import LENGTH_BYTES, MAX_CHUNK_BYTES
from palomar.documents.chunks import walk
from palomar.documents.facts import SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import ChunkSlice, Manifest
from palomar.documents.packing import pack
from palomar.documents.schema import check_document
from palomar.server.access.policy import Subject
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.models import Version
from palomar.server.artifacts.native_chunks import NativePusher, link_chunk, store_chunk
from palomar.server.artifacts.native_push import fresh_push
from palomar.server.artifacts.versions import numbered_version

# What a recipe may make the hub read: a chunk that changed in places has one or two sources.
_MAX_SOURCE_CHUNKS = 64
_HELD_CHUNKS = 4
_MAX_RAW_BYTES = MAX_CHUNK_BYTES + LENGTH_BYTES


@dataclass(frozen=True, slots=True)
class SentPart:
    """Documents in their raw form."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class KnownPart:
    """Documents ``start`` to ``stop`` (exclusive) of a version."""

    array: str
    version: int
    start: int
    stop: int


async def cook_chunk(
    pusher: NativePusher, subject: Subject, push_id: str, digest: str, parts: Sequence[SentPart | KnownPart]
) -> None:
    """Raises NotFound for a version that the caller may not read, DigestMismatch, MalformedStream, TooLarge."""
    push = await fresh_push(pusher.database, subject, push_id)
    kitchen = _Kitchen(pusher, subject, push.kind)
    if len(parts) == 1 and isinstance(parts[0], KnownPart):
        index_entries = await kitchen.whole_chunk(parts[0], digest)
        if index_entries is not None:
            await link_chunk(pusher, subject, push_id, digest, index_entries)
            return
    for part in parts:
        await kitchen.add(part)
    await store_chunk(pusher, subject, push, digest, await kitchen.seal(digest))


@dataclass(slots=True)
class _Kitchen:
    pusher: NativePusher
    subject: Subject
    kind: DocumentKind
    _documents: list[bytes] = field(default_factory=list, init=False)
    _raw_bytes: int = field(default=0, init=False)
    _versions: dict[tuple[str, int], Version] = field(default_factory=dict, init=False)
    _held: OrderedDict[str, list[bytes]] = field(default_factory=OrderedDict, init=False)
    _read_chunks: int = field(default=0, init=False)

    async def whole_chunk(self, part: KnownPart, digest: str) -> bytes | None:
        """The index of the part, if it is the whole chunk of this digest; so even a very large one is never read."""
        version, _, slices = await self._resolve(part)
        manifest = await self.pusher.reader.manifest(version)
        if len(slices) != 1:
            return None
        chunk = manifest.chunks[slices[0].chunk]
        if chunk.digest != digest or part.stop - part.start != chunk.documents:
            return None
        return await self.pusher.reader.index_bytes(version, part.start, part.stop)

    async def add(self, part: SentPart | KnownPart) -> None:
        if isinstance(part, SentPart):
            self._take(await asyncio.to_thread(_checked_documents, part.raw, self.kind))
            return
        version, manifest, slices = await self._resolve(part)
        for one in slices:
            self._take((await self._chunk(version, manifest, one.chunk))[one.start : one.stop])

    def _take(self, documents: list[bytes]) -> None:
        self._documents += documents
        self._raw_bytes += sum(LENGTH_BYTES + len(document) for document in documents)
        if self._raw_bytes > _MAX_RAW_BYTES:
            raise TooLarge("The chunk of the recipe", _MAX_RAW_BYTES)

    async def seal(self, digest: str) -> SealedChunk:
        sealed = await asyncio.to_thread(lambda: list(pack(self._documents, self.kind)))
        if len(sealed) != 1:
            raise MalformedStream(f"the cutting rule makes {len(sealed)} chunks of the recipe and not one")
        if sealed[0].facts.digest != digest:
            raise DigestMismatch(digest, sealed[0].facts.digest)
        return sealed[0]

    async def _resolve(self, part: KnownPart) -> tuple[Version, Manifest, Sequence[ChunkSlice]]:
        version = await self._version(part)
        if not part.start < part.stop <= version.documents:
            reason = f"{part.array!r} version {part.version} has {version.documents} documents"
            raise BadParameter("parts", f"{reason}, not {part.start} to {part.stop}")
        manifest = await self.pusher.reader.manifest(version)
        return version, manifest, manifest.slice(part.start, part.stop)

    async def _version(self, part: KnownPart) -> Version:
        name = (part.array, part.version)
        if name not in self._versions:
            self._versions[name] = await self._find(part)
        return self._versions[name]

    async def _find(self, part: KnownPart) -> Version:
        async with self.pusher.database.read() as session:
            found = await find_readable(session, self.subject, name=part.array, bare_means_own=False)
            version = await numbered_version(session, found.artifact, part.version, asked_name=part.array)
        if version.document_kind != self.kind:
            raise BadParameter("parts", f"{part.array!r} version {part.version} has no documents of kind {self.kind}")
        return version

    async def _chunk(self, version: Version, manifest: Manifest, number: int) -> list[bytes]:
        """The documents of one chunk; parts of a recipe stand close together, so the last few are kept."""
        chunk = manifest.chunks[number]
        if chunk.raw_bytes > _MAX_RAW_BYTES:
            raise TooLarge("The chunk of the recipe", _MAX_RAW_BYTES)
        if chunk.digest not in self._held:
            self._read_chunks += 1
            if self._read_chunks > _MAX_SOURCE_CHUNKS:
                raise BadParameter("parts", f"they stand in more than {_MAX_SOURCE_CHUNKS} chunks; send the chunk")
            start = manifest.start_of(number)
            documents = self.pusher.reader.documents(version, start, start + chunk.documents)
            self._held[chunk.digest] = [document async for document in documents]
            if len(self._held) > _HELD_CHUNKS:
                self._held.popitem(last=False)
        return self._held[chunk.digest]


def _checked_documents(raw: bytes, kind: DocumentKind) -> list[bytes]:
    documents = list(walk(raw))
    for position, document in enumerate(documents):
        try:
            check_document(kind, document)
        except ValueError as error:
            raise MalformedStream(str(error), position) from error
    return documents
