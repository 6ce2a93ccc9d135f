"""A body on its way into the store: whatever its pieces, the bytes and the digest are those that were sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from palomar.contract.errors import BlobUploadInvalid, QuotaExceeded, StorageFull, TooLarge
from palomar.server.blobs.local import LocalBlobStore
from palomar.server.blobs.port import BLOCK_BYTES
from palomar.server.registry.sink import Room, store_body
from tests.factories.blobs import stored_keys
from tests.factories.images import body_of, cut, digest_of

ROOMY = Room(1 << 30)
DATA = b"".join(number.to_bytes(4, "big") for number in range(3 * BLOCK_BYTES // 4 + 100))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalBlobStore]:
    store = LocalBlobStore(tmp_path)
    yield store
    await store.close()


@pytest.mark.parametrize("piece_bytes", [1 << 30, BLOCK_BYTES, BLOCK_BYTES + 1, BLOCK_BYTES - 1, 65_536, 5_000])
async def test_pieces_of_any_size_come_out_in_order(store: LocalBlobStore, piece_bytes: int) -> None:
    stored = await store_body(store, body_of(*cut(DATA, piece_bytes)), ROOMY)
    assert await store.read(stored.key) == DATA
    assert (stored.size_bytes, f"sha256:{stored.sha256}") == (len(DATA), digest_of(DATA))
    assert stored.interruption is None


async def test_an_empty_body_is_stored_as_such(store: LocalBlobStore) -> None:
    stored = await store_body(store, body_of(b"", b""), Room(0, 0))
    assert await store.read(stored.key) == b""
    assert f"sha256:{stored.sha256}" == digest_of(b"")


@pytest.mark.parametrize("sent", [0, 10, BLOCK_BYTES, 2 * BLOCK_BYTES + 7])
async def test_what_came_before_the_interruption_is_stored(store: LocalBlobStore, sent: int) -> None:
    error = ConnectionResetError("gone")
    stored = await store_body(store, body_of(*cut(DATA[:sent], 100_000), then=error), Room(1 << 30, len(DATA)))
    assert stored.interruption is error
    assert await store.read(stored.key) == DATA[:sent]
    assert f"sha256:{stored.sha256}" == digest_of(DATA[:sent])


@pytest.mark.parametrize(
    ("room", "refusal"),
    [
        (Room(len(DATA) - 1), TooLarge),
        (Room(1 << 30, len(DATA) - 1), BlobUploadInvalid),
        (Room(1 << 30, len(DATA) + 1), BlobUploadInvalid),
        (Room(1 << 30, None, "alice", 1 << 30, len(DATA) - 1), QuotaExceeded),
        (Room(1 << 30, None, "alice", 10, -5), QuotaExceeded),
    ],
)
async def test_what_does_not_fit_leaves_nothing(store: LocalBlobStore, room: Room, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        await store_body(store, body_of(*cut(DATA, 100_000)), room)
    assert await stored_keys(store) == set()


async def test_a_body_that_is_announced_as_too_long_is_not_asked_for(store: LocalBlobStore) -> None:
    unread = body_of(then=AssertionError("it was read"))
    with pytest.raises(TooLarge):
        await store_body(store, unread, Room(10, 11))
    with pytest.raises(QuotaExceeded):
        await store_body(store, unread, Room(100, 11, "alice", 50, 10))


class _FullStore:
    """A store whose disk is full after some bytes."""

    def __init__(self, store: LocalBlobStore, room: int) -> None:
        self._store = store
        self._room = room

    @asynccontextmanager
    async def writer(self, key: str) -> AsyncIterator[Any]:
        async with self._store.writer(key) as writer:
            self._writer, self.commit = writer, writer.commit
            yield self

    async def write(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            raise StorageFull
        await self._writer.write(data)


@pytest.mark.parametrize("room", [0, BLOCK_BYTES, len(DATA) - 1])
async def test_a_full_disk_is_said_and_leaves_nothing(store: LocalBlobStore, room: int) -> None:
    with pytest.raises(StorageFull):
        await store_body(_FullStore(store, room), body_of(*cut(DATA, 100_000)), ROOMY)  # type: ignore[arg-type]
    assert await stored_keys(store) == set()


async def test_a_writer_that_is_cancelled_leaves_nothing(store: LocalBlobStore) -> None:
    class Stuck(_FullStore):
        async def write(self, data: bytes) -> None:
            await asyncio.Event().wait()

    work = asyncio.create_task(store_body(Stuck(store, 0), body_of(*cut(DATA, 100_000)), ROOMY))  # type: ignore[arg-type]
    await asyncio.sleep(0.1)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert await stored_keys(store) == set()
