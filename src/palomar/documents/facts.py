"""What is known about one stored chunk, and the builder that finds it out."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Final

from palomar.documents.chunking import LENGTH_BYTES, ends_chunk, fits

LENGTH: Final = struct.Struct(">I")
#: A document's prefix in the index: the first bytes of its SHA-256.
INDEX_DIGEST_BYTES: Final = 16


class Encoding(StrEnum):
    """How a chunk's bytes are stored; its digest does not depend on it."""

    GZIP_MEMBERS = "gzip-members"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class ChunkFacts:
    """Facts about one chunk.

    ``digest`` is the hexadecimal SHA-256 of the raw form; of a document above ``MAX_DOCUMENT_BYTES``, that of the
    document followed by its length, which is known only once the whole of it has been inflated. ``raw_bytes`` is the
    length of the raw form (documents and four bytes each), ``stored_bytes`` that of the stored bytes,
    ``members_bytes`` that of the chunk as an old client reads it. ``index`` has 20 bytes per document: its length
    (u32 big-endian) and the first 16 bytes of its SHA-256.
    """

    digest: str
    raw_bytes: int
    documents: int
    encoding: Encoding
    stored_bytes: int
    members_bytes: int
    index: bytes


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A whole chunk: what is known about it and the bytes to store."""

    facts: ChunkFacts
    stored: bytes


class ChunkBuilder:
    """Finds out the facts of one chunk after the other.

    Ask ``takes`` before ``add``, and ``seal`` when ``takes`` says no or ``add`` says that a boundary follows. The
    pieces are what is kept until then: frames as they were sent, or raw documents.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.documents = 0
        self.raw_bytes = 0
        self.pieces: list[bytes] = []
        self._digest = sha256()
        self._index = bytearray()

    def takes(self, raw: bytes) -> bool:
        return fits(self.raw_bytes, len(raw) + LENGTH_BYTES)

    def add(self, raw: bytes, piece: bytes) -> bool:
        """Whether a boundary falls after this document. ``raw`` has at most ``MAX_DOCUMENT_BYTES``."""
        prefix = LENGTH.pack(len(raw))
        digest = sha256(raw).digest()
        self._digest.update(prefix)
        self._digest.update(raw)
        self._index += prefix + digest[:INDEX_DIGEST_BYTES]
        self.pieces.append(piece)
        self.documents += 1
        size = len(raw) + LENGTH_BYTES
        self.raw_bytes += size
        return ends_chunk(self.raw_bytes, self.documents, size, digest)

    def seal(self, encoding: Encoding, *, stored_bytes: int, members_bytes: int) -> ChunkFacts:
        """The facts of the chunk that was built; the next document begins another."""
        facts = ChunkFacts(
            digest=self._digest.hexdigest(),
            raw_bytes=self.raw_bytes,
            documents=self.documents,
            encoding=encoding,
            stored_bytes=stored_bytes,
            members_bytes=members_bytes,
            index=bytes(self._index),
        )
        self._reset()
        return facts

    def seal_members(self) -> SealedChunk:
        """The chunk whose pieces are length-prefixed gzip members."""
        stored = b"".join(self.pieces)
        facts = self.seal(Encoding.GZIP_MEMBERS, stored_bytes=len(stored), members_bytes=len(stored))
        return SealedChunk(facts, stored)
