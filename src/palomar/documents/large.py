"""A document that is too large to be held: checked and digested as its gzip member passes by."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES
from palomar.documents.facts import INDEX_DIGEST_BYTES, LENGTH, ChunkFacts, Encoding
from palomar.documents.gzipmember import GZIP_WBITS, check_header, describe, describe_unused
from palomar.documents.kinds import DocumentKind
from palomar.documents.limits import IngestLimits
from palomar.documents.toplevel import TopLevelWalk

_INPUT_BYTES: Final = 64 * 1024
_OUTPUT_BYTES: Final = 256 * 1024


class MemberInflater:
    """Inflates one gzip member in pieces of bounded size; raises ValueError when it is damaged or not alone."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(GZIP_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The raw pieces that ``data`` completes; exhaust it before the next call."""
        for start in range(0, len(data), _INPUT_BYTES):
            yield from self._pieces(data[start : start + _INPUT_BYTES])

    def finish(self) -> Iterator[bytes]:
        """What zlib still holds back; raises ValueError when the member is cut off."""
        while not self._inflater.eof:
            piece = self._inflate(b"")
            if not piece:
                raise ValueError("its gzip member is cut off")
            yield piece

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._inflater.eof:
                raise ValueError(describe_unused(data))
            yield self._inflate(data)
            data = self._inflater.unconsumed_tail or self._inflater.unused_data

    def _inflate(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, _OUTPUT_BYTES)
        except zlib.error as error:
            raise ValueError(describe(error)) from error


def inflate_stored(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The raw bytes of the one document in a large chunk, from its stored bytes in pieces of any size."""
    inflater = MemberInflater()
    skip = LENGTH_BYTES
    for piece in pieces:
        yield from inflater.feed(piece[skip:])
        skip = max(0, skip - len(piece))
    yield from inflater.finish()


class LargeDocument:
    """The facts about one document above ``MAX_DOCUMENT_BYTES``.

    Feed it the member (without the length before it); the first call must bring the whole gzip header. Holds some
    hundred KiB however large the document. Not every byte is parsed as protobuf: the top level is walked.
    """

    def __init__(self, kind: DocumentKind, *, member_bytes: int, position: int, limits: IngestLimits) -> None:
        self._member_bytes = member_bytes
        self._position = position
        self._limits = limits
        self._inflater = MemberInflater()
        self._walk = TopLevelWalk(kind)
        self._digest = sha256()
        self._raw_bytes = 0
        self._begun = False

    def feed(self, data: bytes) -> None:
        try:
            if not self._begun:
                check_header(data)
                self._begun = True
            self._take(self._inflater.feed(data))
        except ValueError as error:
            raise self._refusal(error) from error

    def finish(self) -> ChunkFacts:
        try:
            self._take(self._inflater.finish())
            self._walk.finish()
            self._check_size()
        except ValueError as error:
            raise self._refusal(error) from error
        return self._facts()

    def _take(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self._raw_bytes += len(piece)
            self._limits.check_raw(self._raw_bytes, self._member_bytes, self._position)
            self._digest.update(piece)
            self._walk.feed(piece)

    def _check_size(self) -> None:
        """A small document in a large member would be cut otherwise than equal data from another client."""
        if self._raw_bytes <= MAX_DOCUMENT_BYTES:
            raise ValueError("its gzip member is larger than what it holds by more than any compressor adds")

    def _refusal(self, error: ValueError) -> MalformedStream:
        return error if isinstance(error, MalformedStream) else MalformedStream(str(error), self._position)

    def _facts(self) -> ChunkFacts:
        prefix = LENGTH.pack(self._raw_bytes)
        index = prefix + self._digest.digest()[:INDEX_DIGEST_BYTES]
        self._digest.update(prefix)
        stored_bytes = LENGTH_BYTES + self._member_bytes
        return ChunkFacts(
            digest=self._digest.hexdigest(),
            raw_bytes=self._raw_bytes + LENGTH_BYTES,
            documents=1,
            encoding=Encoding.GZIP_MEMBERS,
            stored_bytes=stored_bytes,
            members_bytes=stored_bytes,
            index=index,
        )
