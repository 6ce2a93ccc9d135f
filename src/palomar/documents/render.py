"""The frame around documents that an old client writes and reads.

A stream is a version byte (1 or 2), the number of documents as u64 big-endian, and per document the length of its
gzip member as u32 big-endian and the member. Nothing follows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from palomar.contract.errors import MalformedStream
from palomar.documents.kinds import DocumentKind

_HEADER: Final = struct.Struct(">BQ")
STREAM_HEADER_BYTES: Final = _HEADER.size

_BEGINNING = (
    "a DocumentArray begins with byte 1 (docarray 0.4 to 0.21) or 2 (docarray 0.30 and later) "
    "and the number of documents as eight bytes"
)


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """``documents`` is what the header promises."""

    kind: DocumentKind
    documents: int


def stream_header(kind: DocumentKind, count: int) -> bytes:
    """The nine bytes before the first document."""
    return _HEADER.pack(kind.version_byte, count)


def parse_header(data: bytes) -> StreamHeader:
    """Raises MalformedStream unless ``data`` begins with a header of a known kind."""
    if not data:
        raise MalformedStream(f"it is empty; {_BEGINNING}")
    try:
        kind = DocumentKind.from_version_byte(data[0])
    except ValueError as error:
        raise MalformedStream(f"it begins with byte {data[0]}; {_BEGINNING}") from error
    if len(data) < STREAM_HEADER_BYTES:
        raise MalformedStream(f"it ends within its first nine bytes; {_BEGINNING}")
    return StreamHeader(kind, _HEADER.unpack_from(data)[1])


def stream_bytes(members_bytes: Iterable[int]) -> int:
    """The ``Content-Length`` of a stream, from the sizes of its chunks as gzip members."""
    return STREAM_HEADER_BYTES + sum(members_bytes)
