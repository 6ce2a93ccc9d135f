"""From documents in hand to chunks that are ready to be sent: what the new client does before it pushes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES, MAX_ZSTD_DOCUMENT_BYTES
from palomar.documents.chunks import encode_zstd, join
from palomar.documents.facts import ChunkBuilder, Encoding, SealedChunk
from palomar.documents.gzipmember import GZIP_WBITS, stored_member, stored_member_bytes
from palomar.documents.kinds import DocumentKind
from palomar.documents.limits import IngestLimits
from palomar.documents.uploaded import facts_from_members


def pack(documents: Iterable[bytes], kind: DocumentKind) -> Iterator[SealedChunk]:
    """The chunks of an array, in order; ``documents`` are canonical and each is sound.

    A chunk is ``zstd`` unless one of its documents is above ``MAX_ZSTD_DOCUMENT_BYTES``. A document above
    ``MAX_DOCUMENT_BYTES`` is a chunk of its own.
    """
    builder = ChunkBuilder()
    for raw in documents:
        if builder.documents and not builder.takes(raw):
            yield _seal(builder)
        if len(raw) > MAX_DOCUMENT_BYTES:
            yield _pack_large(raw, kind)
        elif builder.add(raw, raw):
            yield _seal(builder)
    if builder.documents:
        yield _seal(builder)


def _seal(builder: ChunkBuilder) -> SealedChunk:
    documents = builder.pieces
    encoding = _encoding_for(documents)
    stored, members_bytes = _stored(encoding, documents)
    return SealedChunk(builder.seal(encoding, stored_bytes=len(stored), members_bytes=members_bytes), stored)


def _encoding_for(documents: list[bytes]) -> Encoding:
    if max(map(len, documents)) > MAX_ZSTD_DOCUMENT_BYTES:
        return Encoding.GZIP_MEMBERS
    return Encoding.ZSTD


def _stored(encoding: Encoding, documents: list[bytes]) -> tuple[bytes, int]:
    """The bytes to store and how many they are as gzip members."""
    if encoding is Encoding.ZSTD:
        sizes = (LENGTH_BYTES + stored_member_bytes(len(document)) for document in documents)
        return encode_zstd(join(documents)), sum(sizes)
    stored = join(map(_compressed, documents))
    return stored, len(stored)


def _pack_large(raw: bytes, kind: DocumentKind) -> SealedChunk:
    limits = IngestLimits()
    member = _compressed(raw)
    if len(raw) > limits.bomb_ratio * len(member):
        member = stored_member(raw)  # a hub would take an array of zeros for a gzip bomb
    stored = join([member])
    return SealedChunk(facts_from_members(stored, kind, limits), stored)


def _compressed(raw: bytes) -> bytes:
    return zlib.compress(raw, 6, GZIP_WBITS)
