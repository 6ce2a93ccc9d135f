"""What a blob store is: every implementation inherits this suite and provides the ``store`` fixture."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from palomar.server.blobs.layout import new_key
from palomar.server.blobs.port import BlobExists, BlobMissing, BlobStore

HOUR = timedelta(hours=1)

NOT_KEYS = (
    "",
    "x",
    "../../etc/passwd",
    "/etc/passwd",
    new_key().upper(),
    new_key() + "\n",
    new_key()[:-1],
    new_key() + "0",
    new_key()[:-2] + "/a",
    "٠" * 32,
    "0" * 31 + "\0",
)


def some_bytes(length: int, *, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)  # noqa: S311 -- the same bytes every time


async def stored(store: BlobStore, data: bytes) -> str:
    key = new_key()
    await store.put(key, data)
    return key


async def write_blob(store: BlobStore, key: str, pieces: Iterable[bytes]) -> None:
    async with store.writer(key) as writer:
        for piece in pieces:
            await writer.write(piece)
        await writer.commit()


async def write_and_fail(store: BlobStore, key: str, data: bytes) -> None:
    async with store.writer(key) as writer:
        await writer.write(data)
        raise ZeroDivisionError


def cut(data: bytes, piece_bytes: int) -> list[bytes]:
    return [data[first : first + piece_bytes] for first in range(0, len(data), piece_bytes)]


async def collect(blocks: AsyncIterator[bytes]) -> list[bytes]:
    return [block async for block in blocks]


async def listed_keys(store: BlobStore, older_than: datetime | None = None) -> set[str]:
    return {blob.key async for blob in store.list(older_than=older_than)}


class BlobStoreSuite:
    """A subclass may set ``large_bytes``: enough that a writer uses more than one part, or flush."""

    large_bytes = 5 * (1 << 20) + 12345

    def small_or_large(self, *, is_large: bool) -> bytes:
        return some_bytes(self.large_bytes if is_large else 5)

    # --- round trips ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("data", [b"", b"x", b"\0" * 4096, bytes(range(256))])
    async def test_what_is_put_can_be_read(self, store: BlobStore, data: bytes):
        key = await stored(store, data)
        assert await store.read(key) == data
        assert await store.size(key) == len(data)
        assert await collect(store.stream(key)) == ([data] if data else [])

    @pytest.mark.parametrize(
        "parts", [[], [b""], [b"ab", b"", b"c"], [bytearray(b"ab"), memoryview(b"c")], [b"x"] * 3000]
    )
    async def test_a_sequence_is_stored_as_its_concatenation(self, store: BlobStore, parts: list[bytes]):
        key = new_key()
        await store.put(key, parts)
        assert await store.read(key) == b"".join(parts)

    async def test_a_large_put_is_whole(self, store: BlobStore):
        data = some_bytes(self.large_bytes)
        key = await stored(store, data)
        assert await store.size(key) == len(data)
        assert await store.read(key) == data

    @pytest.mark.parametrize("piece_bytes", [1000, 65_536, 3 << 20])
    async def test_a_large_blob_streams_in_and_out_in_pieces(self, store: BlobStore, piece_bytes: int):
        data = some_bytes(self.large_bytes)
        key = new_key()
        await write_blob(store, key, cut(data, piece_bytes))
        blocks = await collect(store.stream(key, block_bytes=100_000))
        assert b"".join(blocks) == data
        assert {0 < len(block) <= 100_000 for block in blocks} == {True}

    async def test_a_writer_without_a_write_makes_an_empty_blob(self, store: BlobStore):
        key = new_key()
        await write_blob(store, key, [])
        assert await store.read(key) == b""

    async def test_a_buffer_may_be_reused_after_write(self, store: BlobStore):
        key = new_key()
        buffer = bytearray(b"first")
        async with store.writer(key) as writer:
            await writer.write(buffer)
            buffer[:] = b"other"
            await writer.write(memoryview(buffer))
            await writer.commit()
        assert await store.read(key) == b"firstother"

    # --- ranges --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("start", "length"),
        [(0, 0), (0, 1), (0, 10), (3, 4), (9, 1), (9, 5), (10, 0), (10, 1), (5, 0), (99, 7), (0, 99)],
    )
    async def test_a_range_is_a_slice(self, store: BlobStore, start: int, length: int):
        key = await stored(store, b"0123456789")
        expected = b"0123456789"[start : start + length]
        assert await store.read_range(key, start, length) == expected
        assert b"".join(await collect(store.stream(key, start=start, length=length, block_bytes=3))) == expected

    async def test_a_range_of_an_empty_blob_is_empty(self, store: BlobStore):
        key = await stored(store, b"")
        assert await store.read_range(key, 0, 5) == b""
        assert await collect(store.stream(key, start=1)) == []

    async def test_a_stream_from_a_start_goes_to_the_end(self, store: BlobStore):
        data = some_bytes(self.large_bytes)
        key = await stored(store, data)
        assert b"".join(await collect(store.stream(key, start=1_000_001))) == data[1_000_001:]

    @pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1)])
    async def test_a_negative_range_is_refused(self, store: BlobStore, start: int, length: int):
        key = await stored(store, b"0123456789")
        with pytest.raises(ValueError, match="range"):
            await store.read_range(key, start, length)
        with pytest.raises(ValueError, match="range"):
            await collect(store.stream(key, start=start, length=length))

    # --- create only ---------------------------------------------------------------------------------------------

    async def test_a_second_put_is_refused_and_changes_nothing(self, store: BlobStore):
        key = await stored(store, b"first")
        with pytest.raises(BlobExists):
            await store.put(key, b"second")
        assert await store.read(key) == b"first"

    @pytest.mark.parametrize("is_large", [False, True])
    async def test_a_writer_cannot_replace_a_blob(self, store: BlobStore, *, is_large: bool):
        key = await stored(store, b"first")
        with pytest.raises(BlobExists):
            await write_blob(store, key, [self.small_or_large(is_large=is_large)])
        assert await store.read(key) == b"first"

    async def test_of_many_puts_at_once_one_wins(self, store: BlobStore):
        key = new_key()
        outcomes = await asyncio.gather(*(store.put(key, bytes([i]) * 1000) for i in range(8)), return_exceptions=True)
        winners = [i for i, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [BlobExists] * 7
        assert await store.read(key) == bytes(winners) * 1000

    # --- several at once -----------------------------------------------------------------------------------------

    async def test_concurrent_writers_do_not_mix(self, store: BlobStore):
        contents = {new_key(): some_bytes(self.large_bytes // 2, seed=i) for i in range(6)}

        await asyncio.gather(*(write_blob(store, key, cut(data, 300_000)) for key, data in contents.items()))
        for key, data in contents.items():
            assert await store.read(key) == data

    async def test_concurrent_streams_of_one_blob_are_independent(self, store: BlobStore):
        data = some_bytes(self.large_bytes)
        key = await stored(store, data)
        results = await asyncio.gather(*(collect(store.stream(key, start=i)) for i in range(4)))
        assert [b"".join(blocks) == data[i:] for i, blocks in enumerate(results)] == [True] * 4

    # --- nothing without a commit --------------------------------------------------------------------------------

    @pytest.mark.parametrize("is_large", [False, True])
    async def test_leaving_without_commit_leaves_nothing(self, store: BlobStore, *, is_large: bool):
        key = new_key()
        async with store.writer(key) as writer:
            await writer.write(self.small_or_large(is_large=is_large))
        await self.assert_absent(store, key)

    @pytest.mark.parametrize("is_large", [False, True])
    async def test_an_error_while_writing_leaves_nothing(self, store: BlobStore, *, is_large: bool):
        key = new_key()
        with pytest.raises(ZeroDivisionError):
            await write_and_fail(store, key, self.small_or_large(is_large=is_large))
        await self.assert_absent(store, key)

    @pytest.mark.parametrize("is_large", [False, True])
    async def test_a_cancelled_writer_leaves_nothing(self, store: BlobStore, *, is_large: bool):
        key = new_key()
        has_written = asyncio.Event()

        async def write_and_wait() -> None:
            async with store.writer(key) as writer:
                await writer.write(self.small_or_large(is_large=is_large))
                has_written.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(write_and_wait())
        await has_written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self.assert_absent(store, key)

    async def test_nothing_is_visible_before_the_commit(self, store: BlobStore):
        key = new_key()
        async with store.writer(key) as writer:
            await writer.write(some_bytes(self.large_bytes))
            await self.assert_absent(store, key)
            await writer.commit()
            assert await store.size(key) == self.large_bytes

    async def assert_absent(self, store: BlobStore, key: str) -> None:
        with pytest.raises(BlobMissing):
            await store.size(key)
        assert key not in await listed_keys(store)

    # --- missing and deleted -------------------------------------------------------------------------------------

    async def test_a_missing_blob_is_said_to_be_missing(self, store: BlobStore):
        key = new_key()
        for attempt in (store.read(key), store.size(key), store.read_range(key, 0, 1), store.read_range(key, 0, 0)):
            with pytest.raises(BlobMissing) as caught:
                await attempt
            assert caught.value.key == key
        for blocks in (store.stream(key), store.stream(key, start=3, length=0)):
            with pytest.raises(BlobMissing):
                await collect(blocks)

    async def test_many_are_deleted_at_once_and_missing_ones_are_no_refusal(self, store: BlobStore):
        kept = await stored(store, b"kept")
        keys = [await stored(store, b"%d" % number) for number in range(7)]
        await store.delete(keys[3])
        assert await store.delete_many([*keys, new_key()]) == {}
        assert await store.delete_many(keys) == await store.delete_many([]) == {}
        assert [blob.key async for blob in store.list()] == [kept]

    async def test_one_key_that_is_none_deletes_nothing(self, store: BlobStore):
        key = await stored(store, b"kept")
        with pytest.raises(ValueError, match="key"):
            await store.delete_many([key, "../" + key])
        assert await store.read(key) == b"kept"

    async def test_delete_removes_and_may_be_repeated(self, store: BlobStore):
        key, other_key = await stored(store, b"data"), await stored(store, b"data")
        await store.delete(key)
        await store.delete(key)
        await store.delete(new_key())
        await self.assert_absent(store, key)
        assert await store.read(other_key) == b"data"

    async def test_a_stream_may_stop_early(self, store: BlobStore):
        key = await stored(store, some_bytes(self.large_bytes))
        async with aclosing(store.stream(key, block_bytes=1000)) as blocks:
            first = await anext(blocks)
        assert first == some_bytes(self.large_bytes)[:1000]
        await store.delete(key)

    # --- list ----------------------------------------------------------------------------------------------------

    async def test_an_empty_store_lists_nothing(self, store: BlobStore):
        assert await listed_keys(store) == set()

    async def test_list_names_each_blob_once_with_its_size(self, store: BlobStore):
        sizes = {await stored(store, bytes(length)): length for length in range(40)}
        blobs = [blob async for blob in store.list()]
        assert {blob.key: blob.size_bytes for blob in blobs} == sizes
        assert len(blobs) == len(sizes)

    async def test_list_knows_when_a_blob_was_written(self, store: BlobStore):
        before = datetime.now(UTC) - HOUR
        await stored(store, b"data")
        (blob,) = [blob async for blob in store.list()]
        assert before < blob.modified_at < before + 2 * HOUR

    async def test_list_can_be_limited_to_old_blobs(self, store: BlobStore):
        key = await stored(store, b"data")
        now = datetime.now(UTC)
        assert await listed_keys(store, now + HOUR) == {key}
        assert await listed_keys(store, now - HOUR) == set()

    async def test_a_list_may_stop_early(self, store: BlobStore):
        keys = {await stored(store, b"data") for _ in range(5)}
        async with aclosing(store.list()) as blobs:
            assert (await anext(blobs)).key in keys

    # --- keys ----------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("name", NOT_KEYS, ids=range(len(NOT_KEYS)))
    async def test_no_other_string_becomes_a_path(self, store: BlobStore, name: str):
        for attempt in (store.put(name, b"x"), store.read(name), store.read_range(name, 0, 1), store.size(name)):
            with pytest.raises(ValueError, match="not a blob key"):
                await attempt
        with pytest.raises(ValueError, match="not a blob key"):
            await store.delete(name)
        with pytest.raises(ValueError, match="not a blob key"):
            await collect(store.stream(name))
        with pytest.raises(ValueError, match="not a blob key"):
            await write_blob(store, name, [])
        with pytest.raises(ValueError, match="not a blob key"):
            store.local_path(name)
        assert await listed_keys(store) == set()

    async def test_a_store_answers_a_ping(self, store: BlobStore):
        await store.ping()
        assert await listed_keys(store) == set()

    async def test_a_local_path_holds_the_blob(self, store: BlobStore):
        key = await stored(store, b"data")
        path = store.local_path(key)
        assert path is None or path.read_bytes() == b"data"
