"""From an old client's stream, in pieces of any size, to chunks that are ready to be stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from palomar.contract.errors import CountMismatch, MalformedStream
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES
from palomar.documents.facts import LENGTH, ChunkBuilder, ChunkFacts, SealedChunk
from palomar.documents.gzipmember import HEADER_BYTES, check_header, inflate, max_member_bytes, stored_member
from palomar.documents.kinds import DocumentKind
from palomar.documents.large import LargeDocument
from palomar.documents.limits import IngestLimits
from palomar.documents.render import STREAM_HEADER_BYTES, StreamHeader, parse_header
from palomar.documents.schema import check_document

__all__ = ["Event", "IngestLimits", "LargeBytes", "LargeClosed", "LargeOpened", "SealedChunk", "StreamIngest"]


@dataclass(frozen=True, slots=True)
class LargeOpened:
    """A chunk of one large document begins; it is not known yet whether it will be accepted."""


@dataclass(frozen=True, slots=True)
class LargeBytes:
    """Further bytes to store for the large chunk."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LargeClosed:
    """The large chunk is complete and sound."""

    facts: ChunkFacts


Event: TypeAlias = SealedChunk | LargeOpened | LargeBytes | LargeClosed

_MAX_WHOLE_FRAME_BYTES: Final = LENGTH_BYTES + max_member_bytes(MAX_DOCUMENT_BYTES)
_FRAME_HEAD_BYTES: Final = LENGTH_BYTES + HEADER_BYTES
_LARGE_PIECE_BYTES: Final = 1024 * 1024


class StreamIngest:
    """Parses, checks, digests and cuts one stream.

    Feed the stream in pieces of any size and exhaust each returned iterator; then exhaust ``finish``. Holds at most
    one chunk, one member and the piece fed, whatever the documents' sizes. What was yielded before an error is sound
    in itself but belongs to no DocumentArray: a large chunk that was opened and not closed must be thrown away. After
    an error the object is of no further use.

    ``documents`` and ``raw_bytes`` count what has been accepted so far; ``kind`` and ``promised`` are known once the
    nine bytes of the header have been fed.
    """

    def __init__(self, limits: IngestLimits) -> None:
        self.documents = 0
        self.raw_bytes = 0
        self._limits = limits
        self._header: StreamHeader | None = None
        self._builder = ChunkBuilder()
        self._large: LargeDocument | None = None
        self._remaining = 0
        self._surplus = 0
        self._events: list[Event] = []
        self._parts: list[bytes] = []
        self._held = 0
        # A step gets at least ``_need`` bytes from the position, takes what it can and returns the new position.
        self._step: Callable[[bytes, int], int] = self._read_header
        self._need = 1

    @property
    def kind(self) -> DocumentKind:
        return self._known_header().kind

    @property
    def promised(self) -> int:
        return self._known_header().documents

    def feed(self, data: bytes | memoryview) -> Iterator[Event]:
        """What ``data`` completes. Raises MalformedStream, TooLarge."""
        self._parts.append(bytes(data))
        self._held += len(data)
        if self._held >= self._need:
            yield from self._advance(b"".join(self._parts))

    def finish(self) -> Iterator[Event]:
        """The last chunk. Raises MalformedStream when the stream ends too early, CountMismatch."""
        self._check_end()
        if self._builder.documents:
            yield self._builder.seal_members()

    def _known_header(self) -> StreamHeader:
        if self._header is None:
            raise LookupError("the stream's header has not been fed yet")
        return self._header

    def _advance(self, buffer: bytes) -> Iterator[Event]:
        position = 0
        while len(buffer) - position >= self._need:
            position = self._step(buffer, position)
            if self._events:
                yield from self._events
                self._events.clear()
        self._held = len(buffer) - position
        self._parts = [buffer[position:]]

    def _enter(self, step: Callable[[bytes, int], int], need: int) -> None:
        self._step = step
        self._need = need

    def _read_header(self, buffer: bytes, position: int) -> int:
        if len(buffer) < STREAM_HEADER_BYTES and buffer[0] in {1, 2}:
            self._need = STREAM_HEADER_BYTES
            return position
        header = parse_header(buffer)
        if header.documents > self._limits.max_documents:
            words = f"its header promises {header.documents:,} documents, at most {self._limits.max_documents:,} may be"
            raise MalformedStream(words)
        self._header = header
        self._enter(self._read_documents, LENGTH_BYTES)
        if not header.documents:
            self._enter(self._read_surplus, _FRAME_HEAD_BYTES)
        return STREAM_HEADER_BYTES

    def _read_documents(self, buffer: bytes, position: int) -> int:
        """Takes documents until a chunk is complete, ``buffer`` is used up or something else must be done."""
        promised = self.promised
        while self.documents < promised:
            frame_bytes = self._frame_bytes(buffer, position)
            if frame_bytes > _MAX_WHOLE_FRAME_BYTES:
                self._enter(self._open_large, _FRAME_HEAD_BYTES)
                return position
            if len(buffer) - position < frame_bytes:
                self._need = frame_bytes
                return position
            frame = buffer[position : position + frame_bytes]
            raw = self._inflate(frame)
            if raw is None:
                self._enter(self._open_large, _FRAME_HEAD_BYTES)
                return position
            position += frame_bytes
            if self._add(raw, frame):
                self._need = LENGTH_BYTES
                break
        if self.documents == promised:
            self._enter(self._read_surplus, _FRAME_HEAD_BYTES)
        return position

    def _frame_bytes(self, buffer: bytes, position: int) -> int:
        """The length of the frame at ``position``, or of its length field if that is not here yet."""
        if len(buffer) - position < LENGTH_BYTES:
            return LENGTH_BYTES
        member_bytes: int = LENGTH.unpack_from(buffer, position)[0]
        self._limits.check_member(member_bytes, self.documents)
        return LENGTH_BYTES + member_bytes

    def _inflate(self, frame: bytes) -> bytes | None:
        """The canonical document; None when it is a large one."""
        try:
            raw = inflate(memoryview(frame)[LENGTH_BYTES:], limit=MAX_DOCUMENT_BYTES)
            if raw is not None:
                check_document(self.kind, raw)
        except ValueError as error:
            raise MalformedStream(str(error), self.documents) from error
        return raw

    def _add(self, raw: bytes, frame: bytes) -> bool:
        """Whether this sealed a chunk."""
        raw_bytes = len(raw)
        self._limits.check_raw(raw_bytes, len(frame), self.documents)
        if len(frame) > LENGTH_BYTES + max_member_bytes(raw_bytes):
            frame = frame_of(stored_member(raw))
        if not self._builder.takes(raw):
            self._events.append(self._builder.seal_members())
        if self._builder.add(raw, frame):
            self._events.append(self._builder.seal_members())
        self.documents += 1
        self.raw_bytes += LENGTH_BYTES + raw_bytes
        return bool(self._events)

    def _open_large(self, buffer: bytes, position: int) -> int:
        self._remaining = self._frame_bytes(buffer, position) - LENGTH_BYTES
        begin = position + LENGTH_BYTES
        self._check_gzip(buffer[begin : begin + HEADER_BYTES])
        self._large = LargeDocument(
            self.kind, member_bytes=self._remaining, position=self.documents, limits=self._limits
        )
        if self._builder.documents:
            self._events.append(self._builder.seal_members())
        self._events += (LargeOpened(), LargeBytes(buffer[position:begin]))
        self._enter(self._read_large, HEADER_BYTES)
        return begin

    def _read_large(self, buffer: bytes, position: int) -> int:
        large = self._large
        assert large is not None  # noqa: S101  (this step is entered with a large document only)
        piece = buffer[position : position + min(self._remaining, _LARGE_PIECE_BYTES)]
        large.feed(piece)
        self._remaining -= len(piece)
        self._events.append(LargeBytes(piece))
        self._need = 1
        if not self._remaining:
            self._close_large(large.finish())
        return position + len(piece)

    def _close_large(self, facts: ChunkFacts) -> None:
        self._events.append(LargeClosed(facts))
        self._large = None
        self.documents += 1
        self.raw_bytes += facts.raw_bytes
        self._enter(self._read_documents, LENGTH_BYTES)

    def _check_gzip(self, header: bytes) -> None:
        try:
            check_header(header)
        except ValueError as error:
            raise MalformedStream(str(error), self.documents) from error

    def _read_surplus(self, buffer: bytes, position: int) -> int:
        """A document more than the header promises is counted, so that the error can say how many arrived."""
        self._remaining = LENGTH.unpack_from(buffer, position)[0]
        try:
            self._limits.check_member(self._remaining, self.documents)
            check_header(buffer[position + LENGTH_BYTES : position + _FRAME_HEAD_BYTES])
        except ValueError as error:
            raise self._trailing_bytes() from error
        self._surplus += 1
        self._enter(self._skip_surplus, 1)
        return position + LENGTH_BYTES

    def _skip_surplus(self, buffer: bytes, position: int) -> int:
        skipped = min(self._remaining, len(buffer) - position)
        self._remaining -= skipped
        if not self._remaining:
            self._enter(self._read_surplus, _FRAME_HEAD_BYTES)
        return position + skipped

    def _trailing_bytes(self) -> MalformedStream:
        return MalformedStream(f"trailing bytes follow the {self.promised} documents that its header promises")

    def _check_end(self) -> None:
        if self._header is None:
            parse_header(b"".join(self._parts))
        arrived = self.documents + self._surplus
        if self._held or self._remaining:
            if self.documents == self.promised:
                raise self._trailing_bytes()
            raise MalformedStream("the stream ends in the middle of it", self.documents)
        if arrived != self.promised:
            raise CountMismatch(self.promised, arrived)


def frame_of(member: bytes) -> bytes:
    """A member with its length before it."""
    return LENGTH.pack(len(member)) + member
