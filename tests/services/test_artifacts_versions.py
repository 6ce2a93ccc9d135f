"""Versions: numbered, immutable, sharing what is equal, and never two of one length."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from palomar.contract.errors import NotFound, VersionConflict
from palomar.server.blobs.models import BlobRow
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.services.pushes import (
    chunks_of,
    documents,
    join_hub,
    pull_array,
    pull_file,
    pull_stream,
    push_array,
    push_file,
    push_packed,
    push_stream,
    version_of,
)
from tests.unit.documents.streams import document, stream


async def test_a_new_version_leaves_the_old_one_as_it_was(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/digits", documents(3))
    second = await push_array(hub, alice, "alice/digits", documents(4, first=10))
    assert second.version == 2
    assert await pull_array(hub, alice, "alice/digits") == documents(4, first=10)
    assert await pull_array(hub, alice, "alice/digits", 1) == documents(3)
    for absent in (0, 3):
        with pytest.raises(NotFound):
            await version_of(hub, alice, "alice/digits", absent)


async def test_a_new_version_of_a_file_leaves_the_old_one_as_it_was(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_file(hub, alice, "model", b"one")
    await push_file(hub, alice, "model", b"two")
    assert [await pull_file(hub, alice, "model", number) for number in (1, 2)] == [b"one", b"two"]


async def test_a_name_is_one_name_whatever_its_case_and_is_shown_as_first_written(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/Digits", documents(1))
    receipt = await push_array(hub, alice, "alice/DIGITS", documents(2))
    assert (receipt.version, receipt.shown_name) == (2, "alice/Digits")


async def test_a_push_on_the_version_that_was_pulled_is_taken_and_on_an_older_one_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/digits", documents(1), base_version=0)
    await push_array(hub, alice, "alice/digits", documents(2), base_version=1)
    with pytest.raises(VersionConflict) as refused:
        await push_array(hub, alice, "alice/digits", documents(3), base_version=1)
    assert (refused.value.expected, refused.value.current) == (1, 2)


async def test_equal_data_stores_nothing_new_whoever_pushes_it(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    docs = documents(100, padding=40_000)
    first = await push_array(hub, alice, "alice/digits", docs)
    keys = await stored_keys(hub.blobs)
    again = [
        await push_array(hub, alice, "alice/digits", docs),
        await push_array(hub, alice, "alice/copy", docs),
        await push_array(hub, bob, "bob/digits", docs),
        await push_packed(hub, bob, "bob/packed", docs),
    ]
    assert {one.digest for one in again} == {first.digest}
    # To bob's namespace all of it is new, once: his receipt must not tell him that somebody has the same.
    assert [one.new_bytes for one in again] == [0, 0, first.new_bytes, 0]
    assert first.new_bytes > 100 * 40_000
    assert await stored_keys(hub.blobs) == keys


async def test_an_equal_file_is_stored_once(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push_file(hub, alice, "model", b"weights" * 1000)
    assert (await push_file(hub, bob, "model", b"weights" * 1000)).new_bytes == 7000
    assert len(await stored_keys(hub.blobs)) == 1


async def test_equal_chunks_side_by_side_are_stored_once(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = [document(0, padding=3_000_000)] * 6
    await push_array(hub, alice, "alice/same", docs)
    assert await chunks_of(hub) == 1
    assert await pull_array(hub, alice, "alice/same") == docs


async def test_equal_large_documents_side_by_side_are_stored_once(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = [document(0, padding=5_000_000)] * 3
    await push_array(hub, alice, "alice/same", docs)
    assert await chunks_of(hub) == 1
    assert await pull_array(hub, alice, "alice/same") == docs


async def test_one_changed_run_in_a_hundred_stores_few_chunks(hub: Hub) -> None:
    """One per cent of the documents, in two runs: under three per cent more would need more than fits a fast test."""
    alice = await join_hub(hub)
    docs = documents(2000, padding=20_000)
    first = await push_array(hub, alice, "alice/digits", docs)
    before = await chunks_of(hub)
    changed = docs[:]
    changed[500:510] = documents(10, first=10_000, padding=20_000)
    changed[1500:1510] = documents(10, first=20_000, padding=20_000)
    second = await push_array(hub, alice, "alice/digits", changed)
    assert before > 20
    assert await chunks_of(hub) - before <= 6
    assert second.new_bytes < first.new_bytes / 5
    assert await pull_array(hub, alice, "alice/digits") == changed


async def test_an_insertion_at_the_front_stores_few_chunks(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(1000, padding=20_000)
    await push_array(hub, alice, "alice/digits", docs)
    before = await chunks_of(hub)
    await push_array(hub, alice, "alice/digits", [document(99_999, padding=500), *docs])
    assert before > 10
    assert await chunks_of(hub) - before <= 3


# --- lengths: old clients trust a cached file whose length is that of the download ---------------------------------


def same_length(number: int) -> list[bytes]:
    """Different documents whose streams have one length: random content does not compress."""
    return [document(1000 + number, padding=5000)]


async def test_versions_of_equal_stream_length_get_different_lengths(hub: Hub) -> None:
    alice = await join_hub(hub)
    streams = [stream(same_length(number)) for number in range(4)]
    assert len({len(sent) for sent in streams}) == 1
    receipts = [await push_stream(hub, alice, "alice/digits", sent) for sent in streams]
    lengths = [receipt.stream_bytes for receipt in receipts]
    assert lengths == [len(streams[0]) + padding for padding in range(4)]
    for number in range(4):
        assert await pull_array(hub, alice, "alice/digits", number + 1) == same_length(number)


async def test_a_version_pushed_again_has_a_length_of_its_own_too(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipts = [await push_array(hub, alice, "alice/digits", documents(5)) for _ in range(3)]
    assert len({receipt.stream_bytes for receipt in receipts}) == 3
    assert len({receipt.digest for receipt in receipts}) == 1
    for number in (1, 2, 3):
        assert await pull_array(hub, alice, "alice/digits", number) == documents(5)


async def test_a_padded_length_is_not_given_to_a_version_that_has_it_by_nature(hub: Hub) -> None:
    alice = await join_hub(hub)
    short, longer = [document(1000, padding=5000)], [document(1001, padding=5001)]
    difference = len(stream(longer)) - len(stream(short))
    for _ in range(difference + 1):
        await push_array(hub, alice, "alice/digits", short)
    receipt = await push_array(hub, alice, "alice/digits", longer)
    assert receipt.stream_bytes == len(stream(longer)) + 1
    assert await pull_array(hub, alice, "alice/digits") == longer


@pytest.mark.parametrize("size", [5_000_000, 9_000_000])
async def test_a_large_last_document_can_be_padded(hub: Hub, size: int) -> None:
    """Both ways to read it: whole, and streamed."""
    alice = await join_hub(hub)
    docs = [document(0), document(1, padding=size)]
    for _ in range(3):
        await push_array(hub, alice, "alice/large", docs)
    pulled = [await pull_stream(hub, alice, "alice/large", number) for number in (1, 2, 3)]
    assert [len(one) - len(pulled[0]) for one in pulled] == [0, 1, 2]
    for number in (1, 2, 3):
        assert await pull_array(hub, alice, "alice/large", number) == docs


async def test_the_padding_of_zstd_chunks_decodes(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(50, padding=300)
    for _ in range(3):
        await push_packed(hub, alice, "alice/packed", docs)
    lengths = [len(await pull_stream(hub, alice, "alice/packed", number)) for number in (1, 2, 3)]
    assert len(set(lengths)) == 3
    assert await pull_array(hub, alice, "alice/packed", 3) == docs


async def test_empty_arrays_need_no_length_of_their_own(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipts = [await push_array(hub, alice, "alice/nothing", []) for _ in range(2)]
    assert [(one.version, one.stream_bytes) for one in receipts] == [(1, 9), (2, 9)]


# --- at once -----------------------------------------------------------------------------------------------------


async def test_pushes_to_one_name_at_once_get_every_number_once_and_none_is_torn(hub: Hub) -> None:
    alice = await join_hub(hub)
    arrays = [documents(30, first=100 * number, padding=20_000) for number in range(6)]
    receipts = await asyncio.gather(*(push_array(hub, alice, "alice/digits", docs) for docs in arrays))
    assert sorted(receipt.version for receipt in receipts) == [1, 2, 3, 4, 5, 6]
    for docs, receipt in zip(arrays, receipts, strict=True):
        assert await pull_array(hub, alice, "alice/digits", receipt.version) == docs


async def test_pushes_of_the_same_new_content_at_once_store_it_once(hub: Hub) -> None:
    people = [await join_hub(hub, name) for name in ("alice", "bob", "carol", "dave")]
    docs = documents(100, padding=50_000)
    orders = [docs, docs[::-1], docs, docs[::-1]]
    receipts = await asyncio.gather(
        *(push_array(hub, one, f"{one.account_name}/same", order) for one, order in zip(people, orders, strict=True))
    )
    assert len({receipt.digest for receipt in receipts}) == 2
    assert all(receipt.new_bytes > 100 * 50_000 for receipt in receipts)
    async with hub.database.read() as session:
        rows = await session.scalar(select(func.count()).select_from(BlobRow))
    assert len(await stored_keys(hub.blobs)) == rows
    for one, order in zip(people, orders, strict=True):
        assert await pull_array(hub, one, f"{one.account_name}/same") == order


async def test_a_pull_keeps_to_its_version_while_others_are_pushed(hub: Hub) -> None:
    alice = await join_hub(hub)
    sent = stream(documents(100, padding=50_000))
    await push_stream(hub, alice, "alice/digits", sent)
    version = await version_of(hub, alice, "alice/digits")
    pieces = hub.arrays.old_stream(version, 0, version.stream_bytes)
    got = [await anext(pieces)]
    await push_array(hub, alice, "alice/digits", documents(3))
    got += [piece async for piece in pieces]
    assert b"".join(got) == sent
