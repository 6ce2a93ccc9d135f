"""Reading stored bytes, never without their checksum."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from palomar.contract.errors import DataCorrupt
from palomar.server.blobs.port import BLOCK_BYTES, BlobMissing, BlobStore


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """Where a blob's bytes lie, and what they must be."""

    key: str
    stored_bytes: int
    stored_digest: str


async def read_verified(store: BlobStore, stored: StoredBytes) -> bytes:
    """Raises DataCorrupt when the bytes are not the ones that were stored, or are gone."""
    try:
        data = await store.read(stored.key)
    except BlobMissing:
        raise DataCorrupt("A stored blob") from None
    if await asyncio.to_thread(_sha256, data) != stored.stored_digest:
        raise DataCorrupt("A stored blob")
    return data


async def stream_verified(
    store: BlobStore, stored: StoredBytes, *, start: int = 0, length: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The bytes in blocks. What is read to its end from the first byte is checked, before the last block is given out.

    A part of a blob has no checksum of its own; the scrub job checks the whole.
    """
    is_whole = start == 0 and (length is None or length >= stored.stored_bytes)
    digest = hashlib.sha256()
    held = b""
    try:
        async with aclosing(store.stream(stored.key, start=start, length=length, block_bytes=BLOCK_BYTES)) as blocks:
            async for block in blocks:
                if is_whole:
                    await asyncio.to_thread(digest.update, block)
                if held:
                    yield held
                held = block
    except BlobMissing:
        raise DataCorrupt("A stored blob") from None
    if is_whole and digest.hexdigest() != stored.stored_digest:
        raise DataCorrupt("A stored blob")
    if held:
        yield held


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
