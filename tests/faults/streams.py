"""Reading back what a pull gives, and making streams that can be told apart."""

from __future__ import annotations

import gzip

from tests.unit.documents.streams import document, stream

HEADER_BYTES = 9


def numbered_stream(number: int, *, documents: int = 60, padding: int = 3000) -> bytes:
    """No two numbers share a document."""
    first = number * 1_000_000
    return stream([document(first + i, padding=padding) for i in range(documents)])


def documents_of(data: bytes) -> list[bytes]:
    """The canonical documents of a stream; raises where it is not whole."""
    count, position = int.from_bytes(data[1:HEADER_BYTES], "big"), HEADER_BYTES
    found = []
    for _ in range(count):
        length = int.from_bytes(data[position : position + 4], "big")
        found.append(gzip.decompress(data[position + 4 : position + 4 + length]))
        position += 4 + length
    if position != len(data):
        raise ValueError(f"{len(data) - position} bytes behind the last document")
    return found
