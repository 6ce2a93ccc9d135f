"""Where a sequence of documents is cut into chunks: rule 1, part of the storage format.

The *raw* form of a chunk is, per document, its length as u32 big-endian and its canonical bytes. All sizes here are
raw and count those four bytes.

A boundary falls

- after a document, when the chunk has at least ``MIN_CHUNK_BYTES`` and the first eight bytes of the document's
  SHA-256, read as a big-endian integer, are below ``size * 2**64 / (MEAN_CHUNK_BYTES - MIN_CHUNK_BYTES)``;
- after the document that is the chunk's ``MAX_CHUNK_DOCUMENTS``-th;
- before a document that would take the chunk above ``MAX_CHUNK_BYTES``;
- on both sides of a document above ``MAX_DOCUMENT_BYTES``, which is a chunk of its own.

The threshold makes the mean independent of the documents' size: a document of s bytes ends the chunk with
probability p = s / 768 KiB, the number of documents until one does is geometric with mean 1/p, and 1/p documents of s
bytes are 768 KiB: with the 256 KiB that come first, 1 MiB. The maximum is reached once in e**5, about 150 chunks.

What decides lies in a window of one chunk, so two sequences that differ in one place are cut alike again from the
first boundary that they share: an insertion changes one or two chunks as a rule. The limit on documents bounds what a
chunk of empty documents costs in memory (20 bytes of gzip for 4 raw ones); real documents never meet it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

RULE: Final = 1
LENGTH_BYTES: Final = 4
MIN_CHUNK_BYTES: Final = 256 * 1024
MEAN_CHUNK_BYTES: Final = 1024 * 1024
MAX_CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_CHUNK_DOCUMENTS: Final = 65_536
#: The largest document (without its length) that shares chunks; alone, it makes a chunk of four bytes more.
MAX_DOCUMENT_BYTES: Final = MAX_CHUNK_BYTES
#: The largest document that a zstd chunk may hold: docarray 0.30-0.38 cannot read a frame above 1 MiB, so what an old
#: client compressed must not come back to it uncompressed.
MAX_ZSTD_DOCUMENT_BYTES: Final = 512 * 1024

_SCALE: Final = 2**64 // (MEAN_CHUNK_BYTES - MIN_CHUNK_BYTES)


def ends_chunk(chunk_bytes: int, documents: int, size: int, digest: bytes) -> bool:
    """Whether a boundary falls after the document of ``size`` and ``digest``, the last of ``documents`` so far."""
    if documents >= MAX_CHUNK_DOCUMENTS:
        return True
    return chunk_bytes >= MIN_CHUNK_BYTES and int.from_bytes(digest[:8]) < size * _SCALE


def fits(chunk_bytes: int, size: int) -> bool:
    """Whether a document of ``size`` may join a chunk that has ``chunk_bytes``; an empty one takes any."""
    return chunk_bytes == 0 or chunk_bytes + size <= MAX_CHUNK_BYTES


def cut(documents: Iterable[tuple[int, bytes]]) -> Iterator[int]:
    """How many documents each chunk gets, from the (length, SHA-256) of each document in order."""
    count = chunk_bytes = 0
    for length, digest in documents:
        size = length + LENGTH_BYTES
        if not fits(chunk_bytes, size):
            yield count
            count = chunk_bytes = 0
        count += 1
        chunk_bytes += size
        if length > MAX_DOCUMENT_BYTES or ends_chunk(chunk_bytes, count, size, digest):
            yield count
            count = chunk_bytes = 0
    if count:
        yield count
