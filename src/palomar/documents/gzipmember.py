"""One gzip member (RFC 1952) around one document.

Palomar accepts members with a plain ten-byte header only, as every docarray writes them (Python's ``gzip.compress``
sets no optional field). So a member can be made longer by inserting a comment, which every reader skips.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

HEADER_BYTES: Final = 10
TRAILER_BYTES: Final = 8
#: The shortest member: header, one empty deflate block of two bytes, CRC-32 and size.
MIN_MEMBER_BYTES: Final = HEADER_BYTES + 2 + TRAILER_BYTES
#: What zlib calls "gzip framing with a window of 32 KiB".
GZIP_WBITS: Final = 31

_MAGIC: Final = b"\x1f\x8b\x08"
_PLAIN: Final = b"\x1f\x8b\x08\x00"
_FLAGS_AT: Final = 3
_FCOMMENT: Final = 0x10
_STORED_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # no time, no level, system unknown
_BLOCK_BYTES: Final = 0xFFFF
_BLOCK_HEAD: Final = struct.Struct("<BHH")
_TRAILER: Final = struct.Struct("<II")


def check_header(member: bytes | memoryview) -> None:
    """Raises ValueError unless ``member``, or its first bytes, begin with a plain gzip header."""
    if member[:4] == _PLAIN:
        return
    if len(member) < HEADER_BYTES or member[:3] != _MAGIC:
        raise ValueError("it is not gzip-compressed")
    raise ValueError("its gzip header has optional fields, which no DocumentArray client writes")


def inflate(member: bytes | memoryview, *, limit: int) -> bytes | None:
    """What ``member`` holds; None when that is more than ``limit`` bytes.

    Never inflates more than ``limit + 1`` bytes. Raises ValueError unless ``member`` is exactly one member with a
    plain header, the right checksum and the right size.
    """
    check_header(member)
    inflater = zlib.decompressobj(GZIP_WBITS)
    try:
        raw = inflater.decompress(member, limit + 1)
    except zlib.error as error:
        raise ValueError(describe(error)) from error
    if len(raw) > limit:
        return None
    if not inflater.eof:
        raise ValueError("its gzip member is cut off")
    if inflater.unused_data:
        raise ValueError(describe_unused(inflater.unused_data))
    return raw


def describe(error: zlib.error) -> str:
    """Zlib's complaint in words."""
    text = str(error)
    if "data check" in text:
        return "its gzip checksum is wrong"
    if "length check" in text:
        return "its gzip size field is wrong"
    return "its gzip data is damaged"


def describe_unused(data: bytes) -> str:
    if data.startswith(_MAGIC[:2]):
        return "it has more than one gzip member"
    return "bytes follow its gzip member"


def stored_member(raw: bytes) -> bytes:
    """A member that holds ``raw`` uncompressed; equal input gives equal bytes."""
    parts = [_STORED_HEADER]
    last = _block_count(len(raw)) - 1
    for number in range(last + 1):
        block = raw[number * _BLOCK_BYTES : (number + 1) * _BLOCK_BYTES]
        parts += (_BLOCK_HEAD.pack(number == last, len(block), len(block) ^ 0xFFFF), block)
    parts.append(_TRAILER.pack(zlib.crc32(raw), len(raw) & 0xFFFFFFFF))
    return b"".join(parts)


def stored_member_bytes(raw_bytes: int) -> int:
    """The length of ``stored_member`` for a document of ``raw_bytes``."""
    return HEADER_BYTES + TRAILER_BYTES + _BLOCK_HEAD.size * _block_count(raw_bytes) + raw_bytes


def _block_count(raw_bytes: int) -> int:
    return max(1, -(-raw_bytes // _BLOCK_BYTES))


def max_member_bytes(raw_bytes: int) -> int:
    """More than any compressor makes of ``raw_bytes``; zlib's own worst case adds an eighth at most.

    A member above this carries empty blocks. It is written anew when it is small and refused when it is large, so
    that chunks, which are cut by what they hold, stay bounded by what is stored too.
    """
    return raw_bytes + (raw_bytes >> 3) + 64


def pad_prefix(header: bytes, padding: int) -> bytes:
    """What replaces the first ten bytes of a member to make it ``padding`` (at least 1) bytes longer.

    The length is carried by a comment of ``padding - 1`` spaces and its final NUL.
    """
    if len(header) != HEADER_BYTES or header[_FLAGS_AT] != 0:
        raise ValueError("only a plain gzip header can be padded")
    if padding < 1:
        raise ValueError("a gzip comment has at least one byte")
    return header[:_FLAGS_AT] + bytes([_FCOMMENT]) + header[_FLAGS_AT + 1 :] + b" " * (padding - 1) + b"\0"


def pad_member(member: bytes, padding: int) -> bytes:
    """The same member, exactly ``padding`` (at least 1) bytes longer."""
    return pad_prefix(member[:HEADER_BYTES], padding) + member[HEADER_BYTES:]
