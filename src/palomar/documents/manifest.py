"""The manifest: what a version of a DocumentArray is made of. Its SHA-256 identifies the version.

The bytes, all numbers big-endian: ``PLMR``, format version (u8, 1), kind (u8, the stream's version byte), cutting rule
(u16), documents (u64), raw bytes (u64), number of chunks (u32), then per chunk its SHA-256 (32 bytes), raw bytes (u64)
and documents (u32). Encodings and stored sizes are facts about chunks and no part of a version's identity.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from typing import Final, NamedTuple, Self

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import LENGTH_BYTES, MAX_CHUNK_BYTES, MAX_CHUNK_DOCUMENTS, RULE
from palomar.documents.kinds import DocumentKind
from palomar.documents.limits import MAX_MESSAGE_BYTES

_MAGIC: Final = b"PLMR"
_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">4sBBHQQI")
_RECORD: Final = struct.Struct(">32sQI")
_MAX_SHARED_BYTES: Final = MAX_CHUNK_BYTES
_MAX_ALONE_BYTES: Final = MAX_MESSAGE_BYTES + LENGTH_BYTES


class ManifestChunk(NamedTuple):
    """``digest`` in hexadecimal; ``raw_bytes`` counts the lengths before the documents."""

    digest: str
    raw_bytes: int
    documents: int


class ChunkSlice(NamedTuple):
    """Documents ``start`` to ``stop`` (exclusive), counted from the chunk's first, of chunk number ``chunk``."""

    chunk: int
    start: int
    stop: int


@dataclass(frozen=True)
class Manifest:
    """An ordered list of chunks; ``decode`` is strict, the constructor trusts its caller."""

    kind: DocumentKind
    documents: int
    raw_bytes: int
    chunks: tuple[ManifestChunk, ...]
    rule: int = RULE

    @classmethod
    def of(cls, kind: DocumentKind, chunks: Iterable[ManifestChunk]) -> Self:
        """The manifest of ``chunks``, with their sums."""
        listed = tuple(chunks)
        return cls(kind, sum(chunk.documents for chunk in listed), sum(chunk.raw_bytes for chunk in listed), listed)

    def encode(self) -> bytes:
        """Equal manifests give equal bytes."""
        counts = (self.documents, self.raw_bytes, len(self.chunks))
        head = _HEAD.pack(_MAGIC, _FORMAT, self.kind.version_byte, self.rule, *counts)
        records = (_RECORD.pack(bytes.fromhex(digest), raw, documents) for digest, raw, documents in self.chunks)
        return head + b"".join(records)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises MalformedStream for bytes that ``encode`` does not write or the cutting rule does not allow."""
        if len(data) < _HEAD.size:
            raise MalformedStream("the manifest is shorter than its head")
        magic, version, kind_byte, rule, documents, raw_bytes, count = _HEAD.unpack_from(data)
        if (magic, version, rule) != (_MAGIC, _FORMAT, RULE):
            raise MalformedStream(f"it is not a manifest of format {_FORMAT} and cutting rule {RULE}")
        if len(data) != _HEAD.size + count * _RECORD.size:
            raise MalformedStream("the manifest's length and its number of chunks disagree")
        records = _RECORD.iter_unpack(memoryview(data)[_HEAD.size :])
        chunks = (ManifestChunk(digest.hex(), raw, held) for digest, raw, held in records)
        manifest = cls.of(_kind_of(kind_byte), chunks)
        _check(manifest, documents=documents, raw_bytes=raw_bytes)
        return manifest

    @property
    def digest(self) -> str:
        """The version's identity: the SHA-256 of ``encode()`` in hexadecimal."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        return sha256(self.encode()).hexdigest()

    @cached_property
    def _ends(self) -> tuple[int, ...]:
        """Per chunk, the number of documents up to its end."""
        return tuple(accumulate(chunk.documents for chunk in self.chunks))

    def start_of(self, chunk: int) -> int:
        """The position in the array of the chunk's first document."""
        return self._ends[chunk] - self.chunks[chunk].documents

    def locate(self, position: int) -> tuple[int, int]:
        """The chunk of a document and its position there. Raises IndexError when there is no such document."""
        if not 0 <= position < self.documents:
            raise IndexError(f"there is no document {position} among {self.documents}")
        chunk = bisect_right(self._ends, position)
        return chunk, position - self.start_of(chunk)

    def slice(self, start: int, stop: int) -> tuple[ChunkSlice, ...]:
        """The parts of chunks that hold documents ``start`` to ``stop`` (exclusive), cut to what there is."""
        start, stop = max(0, start), min(stop, self.documents)
        if start >= stop:
            return ()
        first, last = self.locate(start)[0], self.locate(stop - 1)[0]
        return tuple(self._part(chunk, start, stop) for chunk in range(first, last + 1))

    def _part(self, chunk: int, start: int, stop: int) -> ChunkSlice:
        begin = self.start_of(chunk)
        return ChunkSlice(chunk, max(0, start - begin), min(self.chunks[chunk].documents, stop - begin))


def _kind_of(byte: int) -> DocumentKind:
    try:
        return DocumentKind.from_version_byte(byte)
    except ValueError as error:
        raise MalformedStream(f"the manifest is of an unknown kind {byte}") from error


def _check(manifest: Manifest, *, documents: int, raw_bytes: int) -> None:
    if (manifest.documents, manifest.raw_bytes) != (documents, raw_bytes):
        raise MalformedStream("the manifest's totals are not the sums over its chunks")
    if not all(map(_is_possible, manifest.chunks)):
        raise MalformedStream("the manifest has a chunk that the cutting rule does not allow")


def _is_possible(chunk: ManifestChunk) -> bool:
    if not 1 <= chunk.documents <= MAX_CHUNK_DOCUMENTS:
        return False
    limit = _MAX_ALONE_BYTES if chunk.documents == 1 else _MAX_SHARED_BYTES
    return LENGTH_BYTES * chunk.documents <= chunk.raw_bytes <= limit
