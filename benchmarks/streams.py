"""Streams as docarray 0.21 pushes them, made as fast as they are sent and never whole in memory.

The documents hold random bytes that no compressor makes smaller, so an array takes on disk what it says. Equal numbers
give equal documents in every run; the gzip headers carry a time, as the clients' do, so equal documents never come in
equal bytes.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from palomar.documents.gzipmember import stored_member, stored_member_bytes
from palomar.documents.kinds import DocumentKind
from palomar.documents.render import stream_header

KIB: Final = 1024
_POOL_BYTES: Final = 32 * 1024 * KIB
_BLOCK_BYTES: Final = 1024 * KIB
_STORED_BYTES: Final = 0xFFFF
_SPREAD: Final = 2_654_435_761
_ID_TAG, _BLOB_TAG = b"\x0a", b"\x12"
_TIMELESS: Final = b"\x1f\x8b\x08\x00"


@dataclass(frozen=True, slots=True)
class ArrayShape:
    """Documents ``changed`` differ from those of an array that is otherwise the same."""

    documents: int
    blob_bytes: int
    seed: int = 1
    changed: Container[int] = ()
    pushed_at: int = 1_700_000_000

    @classmethod
    def of_size(cls, total_bytes: int, *, blob_bytes: int, seed: int = 1) -> ArrayShape:
        return cls(total_bytes // blob_bytes, blob_bytes, seed)


def stream(shape: ArrayShape) -> Iterator[bytes]:
    """The whole stream in blocks of about 1 MiB."""
    yield stream_header(DocumentKind.V1, shape.documents)
    parts: list[bytes] = []
    held = 0
    for number in range(shape.documents):
        frame = _frame(document(shape, number), shape.pushed_at)
        parts.append(frame)
        held += len(frame)
        if held >= _BLOCK_BYTES:
            yield b"".join(parts)
            parts.clear()
            held = 0
    yield b"".join(parts)


def document(shape: ArrayShape, number: int) -> bytes:
    """The DocumentProto: an id and a blob."""
    generation = "b" if number in shape.changed else "a"
    name = f"{shape.seed:04d}-{number:010d}-{generation}".encode()
    at = number * _SPREAD % (_POOL_BYTES - shape.blob_bytes)
    return _head(name, shape.blob_bytes) + _pool(shape.seed)[at : at + shape.blob_bytes]


def stream_of_one(blob_bytes: int) -> Iterator[bytes]:
    """One document, however large: its gzip member is written as it goes, in stored blocks."""
    head = _head(b"one", blob_bytes)
    raw_bytes = len(head) + blob_bytes
    yield stream_header(DocumentKind.V1, 1)
    yield stored_member_bytes(raw_bytes).to_bytes(4, "big")
    yield _TIMELESS + bytes(6)
    checksum = left = 0
    left = raw_bytes
    for block in _stored_blocks(head, raw_bytes):
        checksum = zlib.crc32(block, checksum)
        left -= len(block)
        yield struct.pack("<BHH", left == 0, len(block), len(block) ^ 0xFFFF) + block
    yield struct.pack("<II", checksum, raw_bytes & 0xFFFFFFFF)


def _stored_blocks(head: bytes, raw_bytes: int) -> Iterator[bytes]:
    yield head + _pool(1)[: min(raw_bytes, _STORED_BYTES) - len(head)]
    for at in range(_STORED_BYTES, raw_bytes, _STORED_BYTES):
        begin = at % (_POOL_BYTES - _STORED_BYTES)
        yield _pool(1)[begin : begin + min(_STORED_BYTES, raw_bytes - at)]


def _frame(raw: bytes, pushed_at: int) -> bytes:
    member = stored_member(raw)
    return b"".join((len(member).to_bytes(4, "big"), _TIMELESS, struct.pack("<I", pushed_at), member[8:]))


def _head(name: bytes, blob_bytes: int) -> bytes:
    """Everything of a document before the blob's own bytes."""
    return b"".join((_ID_TAG, _varint(len(name)), name, _BLOB_TAG, _varint(blob_bytes)))


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


@cache
def _pool(seed: int) -> bytes:
    return random.Random(seed).randbytes(_POOL_BYTES)  # noqa: S311  (the same bytes in every run are wanted)
