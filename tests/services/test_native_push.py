"""Native pushes as use cases, on every pair of database and blob store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from palomar.contract.errors import NotFound, PalomarError
from palomar.documents.facts import SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.documents.packing import pack
from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.artifacts.listing import After, ArrayQuery, list_version_page, list_visible
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact, Version
from palomar.server.artifacts.native_chunks import NativePusher, receive_chunk
from palomar.server.artifacts.native_commit import commit_push
from palomar.server.artifacts.native_push import (
    PushChunk,
    PushRow,
    abort_push,
    expire_pushes,
    find_push,
    missing_chunks,
    open_push,
    renewing,
)
from palomar.server.artifacts.native_recipe import KnownPart, SentPart, cook_chunk
from palomar.server.artifacts.values import PushRequest
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.leases import BlobLease
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.wiring import Hub
from tests.services.pushes import documents, join_hub, push_array


def pusher_of(hub: Hub) -> NativePusher:
    return NativePusher(hub.database, hub.blobs, hub.artifact_rules, hub.arrays)


async def body_of(data: bytes, piece: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), piece):
        yield data[start : start + piece]


async def opened(hub: Hub, subject: Subject, name: str = "alice/birds") -> str:
    async with hub.database.write() as session:
        request = PushRequest(name=name, type=DOCUMENT_ARRAY)
        return (await open_push(session, subject, request, DocumentKind.V1, hub.artifact_rules)).push_id


async def sent(hub: Hub, subject: Subject, push_id: str, chunk: SealedChunk) -> None:
    facts = chunk.facts
    await receive_chunk(pusher_of(hub), subject, push_id, facts.digest, facts.encoding, body_of(chunk.stored))


def manifest_of(chunks: list[SealedChunk]) -> bytes:
    listed = [ManifestChunk(one.facts.digest, one.facts.raw_bytes, one.facts.documents) for one in chunks]
    return Manifest.of(DocumentKind.V1, listed).encode()


async def pushed(hub: Hub, subject: Subject, name: str, docs: list[bytes]) -> Version:
    push_id = await opened(hub, subject, name)
    chunks = list(pack(docs, DocumentKind.V1))
    for chunk in chunks:
        await sent(hub, subject, push_id, chunk)
    version_id = await commit_push(pusher_of(hub), subject, push_id, manifest_of(chunks))
    async with hub.database.read() as session:
        return await session.get_one(Version, version_id)


async def collected(hub: Hub) -> int:
    return (await Collector(hub.database, hub.blobs, grace=timedelta(0)).run()).blobs


async def age_everything(hub: Hub) -> None:
    """As if it had been there for long."""
    async with hub.database.write() as session:
        await session.execute(update(BlobRow).values(touched_at=utc_now() - timedelta(days=30)))


async def test_documents_come_back_as_they_were(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(40, padding=60_000)
    version = await pushed(hub, alice, "alice/birds", docs)
    assert [one async for one in hub.arrays.documents(version, 0, 40)] == docs
    index = await hub.arrays.index(version, 0, 40)
    assert [entry.length for entry in index] == [len(one) for one in docs]


async def test_both_clients_make_the_same_version(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(30, padding=50_000)
    old = await push_array(hub, alice, "alice/birds", docs)
    new = await pushed(hub, alice, "alice/birds", docs)
    assert (new.digest, new.number) == (old.digest, 2)
    assert new.new_bytes == 0
    assert new.stream_bytes != old.stream_bytes


async def test_collection_spares_what_a_push_uploaded(hub: Hub) -> None:
    """Its rows say so, whatever leases and grace periods say."""
    alice = await join_hub(hub)
    chunks = list(pack(documents(30, padding=50_000), DocumentKind.V1))
    push_id = await opened(hub, alice)
    await sent(hub, alice, push_id, chunks[0])
    await age_everything(hub)
    async with hub.database.write() as session:
        await session.execute(update(BlobLease).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert await collected(hub) == 0
    async with hub.database.write() as session:
        await session.execute(update(BlobLease).values(expires_at=utc_now() + timedelta(hours=1)))
    for chunk in chunks[1:]:
        await sent(hub, alice, push_id, chunk)
    assert await commit_push(pusher_of(hub), alice, push_id, manifest_of(chunks))


@pytest.mark.parametrize("is_aborted", [True, False])
async def test_collection_takes_what_a_lost_push_uploaded(hub: Hub, is_aborted: bool) -> None:
    alice = await join_hub(hub)
    push_id = await opened(hub, alice)
    await sent(hub, alice, push_id, next(pack(documents(1), DocumentKind.V1)))
    if is_aborted:
        await abort_push(hub.database, alice, push_id)
    else:
        async with hub.database.write() as session:
            await session.execute(update(PushRow).values(expires_at=utc_now()))
        assert await expire_pushes(hub.database) == 1
    await age_everything(hub)
    assert await collected(hub) == 1


async def test_every_call_moves_the_end_of_the_push(hub: Hub) -> None:
    alice = await join_hub(hub)
    push_id = await opened(hub, alice)
    soon = utc_now() + timedelta(minutes=1)
    chunk = next(pack(documents(1), DocumentKind.V1))
    parts = [SentPart(b"\0\0\0\1\0")]

    async def cook() -> None:
        with pytest.raises(PalomarError):
            await cook_chunk(pusher_of(hub), alice, push_id, "0" * 64, parts)

    for call in (
        lambda: missing_chunks(hub.database, alice, push_id, []),
        lambda: sent(hub, alice, push_id, chunk),
        cook,
    ):
        async with hub.database.write() as session:
            await session.execute(update(PushRow).values(expires_at=soon))
        await call()
        async with hub.database.read() as session:
            row = await find_push(session, alice, push_id)
            lease = await session.get_one(BlobLease, push_id)
        assert row.expires_at == lease.expires_at > soon


async def test_no_push_lives_for_ever(hub: Hub) -> None:
    """Its lease holds collection back, so it ends a week after it began, whatever is called."""
    alice = await join_hub(hub)
    push_id = await opened(hub, alice)
    began_at = utc_now() - timedelta(days=7) + timedelta(minutes=10)
    async with hub.database.write() as session:
        await session.execute(update(PushRow).values(created_at=began_at, expires_at=utc_now() + timedelta(minutes=1)))
    async with renewing(hub.database, alice, push_id) as (_, row):
        assert row.expires_at == began_at + timedelta(days=7)


async def test_chunks_at_once_and_commits_at_once(hub: Hub) -> None:
    alice = await join_hub(hub)
    chunks = list(pack(documents(30, padding=50_000), DocumentKind.V1))
    push_id = await opened(hub, alice)
    await asyncio.gather(*(sent(hub, alice, push_id, chunk) for chunk in [*chunks, *chunks]))
    manifest = manifest_of(chunks)
    made = await asyncio.gather(*(commit_push(pusher_of(hub), alice, push_id, manifest) for _ in range(3)))
    assert len(set(made)) == 1
    async with hub.database.read() as session:
        assert len((await session.scalars(select(Version))).all()) == 1
        assert (await session.scalars(select(PushChunk))).all() == []


async def test_committed_push_takes_nothing_more(hub: Hub) -> None:
    alice = await join_hub(hub)
    push_id = await opened(hub, alice)
    chunks = list(pack(documents(2), DocumentKind.V1))
    await sent(hub, alice, push_id, chunks[0])
    await commit_push(pusher_of(hub), alice, push_id, manifest_of(chunks))
    with pytest.raises(NotFound):
        await sent(hub, alice, push_id, chunks[0])


async def test_recipe_reads_chunks_of_either_encoding(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(20, padding=40_000)
    await push_array(hub, alice, "alice/old", docs[:10])
    await pushed(hub, alice, "alice/new", docs[10:])
    chunks = list(pack(docs, DocumentKind.V1))
    push_id = await opened(hub, alice)
    start = 0
    for chunk in chunks:
        stop = start + chunk.facts.documents
        old = [KnownPart("alice/old", 1, start, min(stop, 10))] if start < 10 else []
        new = [KnownPart("alice/new", 1, max(start, 10) - 10, stop - 10)] if stop > 10 else []
        await cook_chunk(pusher_of(hub), alice, push_id, chunk.facts.digest, [*old, *new])
        start = stop
    version_id = await commit_push(pusher_of(hub), alice, push_id, manifest_of(chunks))
    async with hub.database.read() as session:
        version = await session.get_one(Version, version_id)
    assert [one async for one in hub.arrays.documents(version, 0, 20)] == docs


async def test_lists_walk_through_everything_once(hub: Hub) -> None:
    alice, bob = await join_hub(hub, "alice"), await join_hub(hub, "bob")
    for number in range(5):
        await push_array(hub, alice, f"alice/a{number}", documents(1, first=number), is_public=number % 2 == 0)
    for subject, expected in ((alice, "43210"), (bob, "420"), (ANONYMOUS, "420")):
        seen, after = "", None
        while True:
            async with hub.database.read() as session:
                page = await list_visible(session, subject, ArrayQuery(document_kind="v1", after=after, limit=2))
            seen += "".join(str(one.found.artifact.name)[1:] for one in page[:2])
            if len(page) <= 2:
                break
            after = After(page[1].found.artifact.created_at, page[1].found.artifact.id)
        assert seen == expected


async def test_versions_of_a_page(hub: Hub) -> None:
    alice = await join_hub(hub)
    for number in range(4):
        await push_array(hub, alice, "alice/birds", documents(1, first=number))
    async with hub.database.read() as session:
        artifact = (await session.scalars(select(Artifact))).one()
        page = await list_version_page(session, artifact, before=4, limit=2)
    assert [(one.version.number, one.pushed_by) for one in page] == [(3, "alice"), (2, "alice"), (1, "alice")]
