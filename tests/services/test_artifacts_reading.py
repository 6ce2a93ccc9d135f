"""Parts of a version: byte ranges of the old stream, slices of documents, and damage that is never served."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from palomar.contract.errors import DataCorrupt
from palomar.server.artifacts.models import Version
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.verified import stream_verified
from palomar.server.wiring import Hub
from tests.services.pushes import documents, join_hub, push_array, push_file, push_packed, read_stream, version_of
from tests.unit.documents.streams import document, random_bytes, stream

# Chunks of many documents, one document that is streamed, and one such at the end, where the padding is.
ARRAYS = {
    "chunks": documents(150, padding=20_000),
    "large in the middle": [document(0), document(1, padding=9_000_000), *documents(5, first=2)],
    "large at the end": [*documents(5), document(9, padding=9_000_000)],
}
# A fraction of the stream, and bytes around it.
Cut = tuple[float, int]
cuts = st.tuples(st.sampled_from([0.0, 0.001, 0.3, 0.5, 0.9, 1.0]) | st.floats(0, 1), st.integers(-40, 40))
ranges = st.lists(st.tuples(cuts, cuts), min_size=1, max_size=10)
# One hub serves all examples of a test.
of_one_hub = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def at(cut: Cut, size: int) -> int:
    fraction, offset = cut
    return min(size, max(0, int(fraction * size) + offset))


async def padded_version(hub: Hub, docs: list[bytes], *, is_packed: bool = False) -> Version:
    """The fourth version of equal ones, which is padded by three bytes; pushed for the first example."""
    async with hub.database.read() as session:
        found: Version | None = await session.scalar(select(Version).where(Version.number == 4))
    if found is None:
        alice = await join_hub(hub)
        push = push_packed if is_packed else push_array
        for _ in range(4):
            await push(hub, alice, "alice/digits", docs)
        found = await version_of(hub, alice, "alice/digits")
    assert found.padding_bytes == 3
    return found


async def check_ranges(hub: Hub, version: Version, wanted: list[tuple[Cut, Cut]]) -> None:
    whole = await read_stream(hub, version)
    assert len(whole) == version.stream_bytes
    for first, last in wanted:
        start, stop = sorted((at(first, len(whole)), at(last, len(whole))))
        assert await read_stream(hub, version, start, stop) == whole[start:stop]


@pytest.mark.parametrize("case", ARRAYS)
@of_one_hub
@given(wanted=ranges)
async def test_every_range_of_a_stream_is_that_part_of_the_whole(
    hub: Hub, case: str, wanted: list[tuple[Cut, Cut]]
) -> None:
    await check_ranges(hub, await padded_version(hub, ARRAYS[case]), wanted)


@of_one_hub
@given(wanted=ranges)
async def test_every_range_of_rewrapped_chunks_is_that_part_of_the_whole(
    hub: Hub, wanted: list[tuple[Cut, Cut]]
) -> None:
    await check_ranges(hub, await padded_version(hub, ARRAYS["chunks"], is_packed=True), wanted)


@pytest.mark.parametrize("case", ARRAYS)
async def test_the_bytes_around_the_padding_are_those_of_the_whole(hub: Hub, case: str) -> None:
    """Every border near the last frame's head, where comment, length and members meet."""
    version = await padded_version(hub, ARRAYS[case])
    whole = await read_stream(hub, version)
    last_frame = len(whole) - len(stream(ARRAYS[case][-1:])) + 9 - version.padding_bytes
    for start in range(last_frame - 2, last_frame + 22):
        for length in (1, 3, 20):
            assert await read_stream(hub, version, start, start + length) == whole[start : start + length]


@of_one_hub
@given(wanted=st.lists(st.tuples(st.integers(-5, 160), st.integers(-5, 160)), min_size=1, max_size=8))
async def test_a_slice_of_documents_is_that_of_the_array(hub: Hub, wanted: list[tuple[int, int]]) -> None:
    docs = ARRAYS["chunks"]
    version = await padded_version(hub, docs)
    for start, stop in wanted:
        async with aclosing(hub.arrays.documents(version, start, stop)) as found:
            assert [raw async for raw in found] == docs[max(0, start) : max(0, stop)]


async def test_the_index_has_the_length_of_every_document(hub: Hub) -> None:
    docs = ARRAYS["chunks"]
    version = await padded_version(hub, docs)
    index = await hub.arrays.index(version, 10, 20)
    assert [entry.length for entry in index] == [len(raw) for raw in docs[10:20]]


async def test_parts_of_a_file_are_those_of_the_whole(hub: Hub) -> None:
    alice = await join_hub(hub)
    data = random_bytes(7, 3_000_000)
    await push_file(hub, alice, "model", data)
    at_rest = await hub.arrays.stored((await version_of(hub, alice, "model")).content_id)
    for start, length in ((0, None), (1, 10), (1_000_000, 1_500_000), (2_999_999, 1)):
        async with aclosing(stream_verified(hub.blobs, at_rest, start=start, length=length)) as blocks:
            assert b"".join([block async for block in blocks]) == data[start:][:length]


@pytest.mark.parametrize("size", [20_000, 9_000_000])
async def test_a_damaged_chunk_is_never_served_whole(hub: Hub, size: int) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/digits", [document(0, padding=size)])
    async with hub.database.write() as session:
        chunk = (await session.scalars(select(BlobRow).where(BlobRow.kind == "chunk"))).one()
        good = await hub.blobs.read(chunk.key)
        chunk.key = chunk.key[:-1] + ("0" if chunk.key[-1] != "0" else "1")
    await hub.blobs.put(chunk.key, good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(DataCorrupt):
        await read_stream(hub, await version_of(hub, alice, "alice/digits"))
