"""One stored chunk and its documents.

Raw documents and frames are walked in the same way, since both have u32 big-endian lengths before them. Every
function raises MalformedStream for bytes that are no chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Final

import zstandard

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import (
    LENGTH_BYTES,
    MAX_CHUNK_BYTES,
    MAX_DOCUMENT_BYTES,
)
from palomar.documents.facts import LENGTH, Encoding
from palomar.documents.gzipmember import HEADER_BYTES, inflate, pad_prefix, stored_member
from palomar.documents.limits import MAX_MESSAGE_BYTES

_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_LEVEL: Final = 3
_MAX_RAW_BYTES: Final = MAX_CHUNK_BYTES + LENGTH_BYTES
_MAX_WINDOW_BYTES: Final = 8 * 1024 * 1024


def encode_zstd(raw: bytes) -> bytes:
    """One frame, with content size and checksum, over the raw form of a chunk."""
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(raw)


def decode_zstd(stored: bytes) -> bytes:
    """The raw form; never more than the largest chunk of shared documents."""
    _check_zstd_header(stored)
    try:
        inflater = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return inflater.decompress(stored, max_output_size=_MAX_RAW_BYTES, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedStream("the chunk's zstd frame is damaged, cut off or followed by other bytes") from error


def _check_zstd_header(stored: bytes) -> None:
    if not stored.startswith(_ZSTD_MAGIC):
        raise MalformedStream("the chunk is not one zstd frame")
    try:
        parameters = zstandard.get_frame_parameters(stored)
    except zstandard.ZstdError as error:
        raise MalformedStream("the chunk's zstd frame has a damaged header") from error
    if not 0 < parameters.content_size <= _MAX_RAW_BYTES:
        raise MalformedStream(f"the chunk's zstd frame must say its content size, at most {_MAX_RAW_BYTES:,} bytes")
    if parameters.dict_id:
        raise MalformedStream("the chunk's zstd frame needs a dictionary")


def walk(data: bytes) -> Iterator[bytes]:
    """What stands after each length: documents of a raw chunk, members of a ``gzip-members`` chunk."""
    position, end = 0, len(data)
    while position < end:
        if end - position < LENGTH_BYTES:
            raise MalformedStream("the chunk ends within a length")
        begin = position + LENGTH_BYTES
        position = begin + LENGTH.unpack_from(data, position)[0]
        if position > end:
            raise MalformedStream("one of the chunk's documents is longer than the chunk")
        yield data[begin:position]


def split(encoding: Encoding, stored: bytes) -> Iterator[bytes]:
    """The canonical documents of a chunk, in order."""
    if encoding is Encoding.ZSTD:
        return walk(decode_zstd(stored))
    return map(_inflated, walk(stored))


def _inflated(member: bytes) -> bytes:
    try:
        raw = inflate(member, limit=MAX_MESSAGE_BYTES)
    except ValueError as error:
        raise MalformedStream(f"the chunk is damaged: of one document, {error}") from error
    if raw is None:
        raise MalformedStream("one of the chunk's documents is larger than protobuf allows")
    return raw


def raw_of(encoding: Encoding, stored: bytes) -> bytes:
    """The raw form of a chunk."""
    if encoding is Encoding.ZSTD:
        return decode_zstd(stored)
    return join(split(encoding, stored))


def join(items: Iterable[bytes]) -> bytes:
    """The inverse of ``walk``: the raw form of documents, the frames of members."""
    return b"".join(part for item in items for part in (LENGTH.pack(len(item)), item))


def chunk_digest(raw: bytes) -> str:
    """The digest that names the chunk with this raw form; see ``ChunkFacts.digest``."""
    if len(raw) - LENGTH_BYTES <= MAX_DOCUMENT_BYTES:
        return sha256(raw).hexdigest()
    digest = sha256(memoryview(raw)[LENGTH_BYTES:])
    digest.update(raw[:LENGTH_BYTES])
    return digest.hexdigest()


def document_at(encoding: Encoding, stored: bytes, position: int) -> bytes:
    """Document ``position`` of the chunk; of a ``gzip-members`` chunk no other is inflated. Raises IndexError."""
    if encoding is Encoding.ZSTD:
        return _nth(walk(decode_zstd(stored)), position)
    return _inflated(_nth(walk(stored), position))


def _nth(items: Iterator[bytes], position: int) -> bytes:
    if position >= 0:
        for item in islice(items, position, None):
            return item
    raise IndexError(f"the chunk has no document {position}")


def to_members(encoding: Encoding, stored: bytes) -> bytes:
    """The chunk as an old client reads it; of ``ChunkFacts.members_bytes`` exactly."""
    if encoding is Encoding.GZIP_MEMBERS:
        return stored
    members = map(stored_member, walk(decode_zstd(stored)))
    return join(members)


def pad_frame_head(head: bytes, padding: int) -> bytes:
    """What replaces the first fourteen bytes of a frame (length and gzip header) to make it ``padding`` longer."""
    member_bytes: int = LENGTH.unpack_from(head)[0]
    return LENGTH.pack(member_bytes + padding) + pad_prefix(head[LENGTH_BYTES:], padding)


def pad_last_frame(members: bytes, padding: int) -> bytes:
    """The same documents in exactly ``padding`` (at least 1) bytes more."""
    last = len(members) - LENGTH_BYTES - len(_last(walk(members)))
    head_end = last + LENGTH_BYTES + HEADER_BYTES
    return members[:last] + pad_frame_head(members[last:head_end], padding) + members[head_end:]


def _last(items: Iterator[bytes]) -> bytes:
    last = None
    for last in items:  # noqa: B007  (the last one is what is wanted)
        pass
    if last is None:
        raise MalformedStream("the chunk is empty")
    return last
