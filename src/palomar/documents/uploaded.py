"""Whether what a client uploaded as one chunk is sound, and what is known about it then."""

from __future__ import annotations

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES, MAX_ZSTD_DOCUMENT_BYTES, RULE
from palomar.documents.chunks import decode_zstd, walk
from palomar.documents.facts import ChunkBuilder, ChunkFacts, Encoding
from palomar.documents.gzipmember import inflate, max_member_bytes, stored_member_bytes
from palomar.documents.kinds import DocumentKind
from palomar.documents.large import LargeDocument
from palomar.documents.limits import IngestLimits
from palomar.documents.schema import check_document


def facts_from_zstd(stored: bytes, kind: DocumentKind, limits: IngestLimits) -> ChunkFacts:
    """The facts about a ``zstd`` chunk, every document of which is checked.

    Also refused: a document above ``MAX_ZSTD_DOCUMENT_BYTES``, and documents between which the cutting rule puts a
    boundary (whether the chunk ends where it should cannot be told from the chunk alone).
    """
    chunk = _CheckedChunk(kind, limits)
    members_bytes = 0
    for raw in walk(decode_zstd(stored)):
        chunk.add_zstd(raw)
        members_bytes += LENGTH_BYTES + stored_member_bytes(len(raw))
    return chunk.seal(Encoding.ZSTD, stored_bytes=len(stored), members_bytes=members_bytes)


def facts_from_members(stored: bytes, kind: DocumentKind, limits: IngestLimits) -> ChunkFacts:
    """The facts about a ``gzip-members`` chunk, checked as ``facts_from_zstd`` does.

    A chunk of one large document is taken too, whole; to take one as it arrives, use ``LargeDocument``.
    """
    chunk = _CheckedChunk(kind, limits)
    for member in walk(stored):
        limits.check_member(len(member), chunk.documents)
        raw = _inflated(member, chunk.documents)
        if raw is None:
            return _large_facts(stored, member, kind, limits)
        chunk.add_member(raw, member)
    return chunk.seal(Encoding.GZIP_MEMBERS, stored_bytes=len(stored), members_bytes=len(stored))


def _inflated(member: bytes, position: int) -> bytes | None:
    try:
        return inflate(member, limit=MAX_DOCUMENT_BYTES)
    except ValueError as error:
        raise MalformedStream(str(error), position) from error


def _large_facts(stored: bytes, member: bytes, kind: DocumentKind, limits: IngestLimits) -> ChunkFacts:
    if len(stored) != LENGTH_BYTES + len(member):
        raise MalformedStream(f"a document above {MAX_DOCUMENT_BYTES:,} bytes must be a chunk of its own")
    large = LargeDocument(kind, member_bytes=len(member), position=0, limits=limits)
    large.feed(member)
    return large.finish()


class _CheckedChunk:
    """A builder that holds no documents and refuses one that the rule puts into another chunk."""

    def __init__(self, kind: DocumentKind, limits: IngestLimits) -> None:
        self._kind = kind
        self._limits = limits
        self._builder = ChunkBuilder()
        self._is_complete = False

    @property
    def documents(self) -> int:
        return self._builder.documents

    def add_zstd(self, raw: bytes) -> None:
        if len(raw) > MAX_ZSTD_DOCUMENT_BYTES:
            words = f"a document above {MAX_ZSTD_DOCUMENT_BYTES:,} bytes must be in a {Encoding.GZIP_MEMBERS} chunk"
            raise MalformedStream(words, self.documents)
        self._add(raw)

    def add_member(self, raw: bytes, member: bytes) -> None:
        if len(member) > max_member_bytes(len(raw)):
            words = "its gzip member is larger than what it holds by more than any compressor adds"
            raise MalformedStream(words, self.documents)
        self._add(raw)

    def seal(self, encoding: Encoding, *, stored_bytes: int, members_bytes: int) -> ChunkFacts:
        if not self.documents:
            raise MalformedStream("the chunk is empty")
        return self._builder.seal(encoding, stored_bytes=stored_bytes, members_bytes=members_bytes)

    def _add(self, raw: bytes) -> None:
        self._limits.check_raw(len(raw), len(raw), self.documents)
        self._check(raw)
        if self._is_complete or not self._builder.takes(raw):
            raise MalformedStream(f"rule {RULE} puts a chunk boundary before it", self.documents)
        self._is_complete = self._builder.add(raw, b"")

    def _check(self, raw: bytes) -> None:
        try:
            check_document(self._kind, raw)
        except ValueError as error:
            raise MalformedStream(str(error), self.documents) from error
