"""A body on its way into the blob store: hashed while it is written, and written while more of it arrives.

The network hands over small pieces. They are collected to blocks, and a block is hashed in one thread while another
writes it and the next ones come in, so a large blob costs one write, one hash, and the longer of the two. A few blocks
may wait in between: a disk stops now and then, and the network need not stop with it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from palomar.contract.errors import BlobUploadInvalid, QuotaExceeded, TooLarge
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.port import BLOCK_BYTES, BlobStore, BlobWriter

_BLOCKS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Room:
    """How much a body may bring; ``length`` is what its request says it has."""

    max_bytes: int
    length: int | None = None
    namespace: str = ""
    quota_bytes: int | None = None
    left_bytes: int | None = None

    def check(self, size_bytes: int) -> None:
        """Raises TooLarge, QuotaExceeded or BlobUploadInvalid for a body that is, or will be, that long."""
        if size_bytes > self.max_bytes:
            raise TooLarge("The blob", self.max_bytes)
        if self.quota_bytes is not None and size_bytes > (self.left_bytes or 0):
            raise QuotaExceeded(self.namespace, self.quota_bytes)
        if self.length is not None and size_bytes > self.length:
            raise BlobUploadInvalid(f"more than the announced {self.length:,} bytes arrived")

    def check_whole(self, size_bytes: int) -> None:
        if self.length is not None and size_bytes != self.length:
            raise BlobUploadInvalid(f"{size_bytes:,} of the announced {self.length:,} bytes arrived")


@dataclass(frozen=True, slots=True)
class Stored:
    """Bytes in the store that no row names yet."""

    key: str
    size_bytes: int
    sha256: str
    # What cut the body off; the bytes before it are stored nevertheless.
    interruption: BaseException | None = None


async def store_body(store: BlobStore, body: AsyncIterator[bytes], room: Room) -> Stored:
    """Durable on return. What the body's own iterator raises is not raised here, but noted in the result.

    Raises what ``room`` says, and StorageFull; then nothing remains.
    """
    room.check(room.length or 0)
    key = new_key()
    async with store.writer(key) as writer:
        sink = _Sink(writer)
        try:
            interruption = await _fill(sink, body, room)
            if interruption is None:
                room.check_whole(sink.size_bytes)
            sha256 = await sink.finish()
        finally:
            await sink.settle()
        await writer.commit()
    return Stored(key, sink.size_bytes, sha256, interruption)


async def _fill(sink: _Sink, body: AsyncIterator[bytes], room: Room) -> BaseException | None:
    while True:
        try:
            piece = await anext(body, None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the adapter says how a client goes away
            return error
        if piece is None:
            return None
        room.check(sink.size_bytes + len(piece))
        await sink.write(piece)


class _Sink:
    """Two lines of blocks, one to the digest and one to the writer; each block is let go of when both have had it."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._room = asyncio.Semaphore(_BLOCKS_AT_ONCE)
        self._hashing: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self.size_bytes = 0

    async def write(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        self.size_bytes += len(piece)
        if self._waiting_bytes >= BLOCK_BYTES:
            await self._start()

    async def finish(self) -> str:
        """The digest, once everything is with the writer."""
        await self._start()
        for line in (self._writing, self._hashing):
            if line is not None:
                await line
        return self._digest.hexdigest()

    async def settle(self) -> None:
        """Nothing of it runs any more; also after a failure, so that the writer can be closed."""
        lines = [line for line in (self._writing, self._hashing) if line is not None]
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _start(self) -> None:
        """Raises what went wrong with a block before: it would go wrong with all that follow."""
        await self._room.acquire()
        if self._writing is not None and self._writing.done():
            await self._writing
        pieces, self._pieces, self._waiting_bytes = self._pieces, [], 0
        block = _Block(pieces, self._room)
        self._hashing = asyncio.create_task(self._hash(self._hashing, block))
        self._writing = asyncio.create_task(self._write(self._writing, block))

    async def _hash(self, before: asyncio.Task[None] | None, block: _Block) -> None:
        if before is not None:
            await before
        # A thread cannot be stopped, and nobody else may touch the digest meanwhile.
        hashing = asyncio.ensure_future(asyncio.to_thread(self._update, block.pieces))
        try:
            await asyncio.shield(hashing)
        finally:
            await asyncio.wait([hashing])
            block.had()

    async def _write(self, before: asyncio.Task[None] | None, block: _Block) -> None:
        try:
            if before is not None:
                await before
            for piece in block.pieces:
                await self._writer.write(piece)
        finally:
            block.had()

    def _update(self, pieces: list[bytes]) -> None:
        """In one call: after each one this thread would have to wait for the event loop's turn to end."""
        self._digest.update(b"".join(pieces))


class _Block:
    def __init__(self, pieces: list[bytes], room: asyncio.Semaphore) -> None:
        self.pieces = pieces
        self._room = room
        self._waits_for = 2

    def had(self) -> None:
        self._waits_for -= 1
        if not self._waits_for:
            self._room.release()
