"""Pushing, and what a push that is refused leaves behind: nothing."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from palomar.contract.actions import Scope, Visibility
from palomar.contract.errors import (
    BadName,
    BadParameter,
    BadRequestBody,
    BareNameRefused,
    CountMismatch,
    CredentialMissing,
    MalformedStream,
    NotAllowed,
    PalomarError,
    QuotaExceeded,
    TooLarge,
    VersionConflict,
)
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.artifacts.values import PushRequest
from palomar.server.blobs.leases import BlobLease
from palomar.server.blobs.port import BlobStore
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.services.pushes import (
    decode,
    documents,
    find,
    join_hub,
    pull_array,
    pull_file,
    pull_stream,
    push_array,
    push_file,
    push_packed,
    push_stream,
    send,
    state_of,
    version_of,
)
from tests.unit.documents.streams import document, frame, random_bytes, stream


async def test_a_pushed_array_comes_back_as_the_very_bytes_that_were_sent(hub: Hub) -> None:
    alice = await join_hub(hub)
    sent = stream(documents(50, padding=2000))
    receipt = await push_stream(hub, alice, "alice/digits", sent)
    assert await pull_stream(hub, alice, "alice/digits") == sent
    assert (receipt.version, receipt.documents, receipt.stream_bytes) == (1, 50, len(sent))
    assert (receipt.shown_name, receipt.visibility) == ("alice/digits", Visibility.PUBLIC)
    assert receipt.raw_bytes == sum(len(raw) + 4 for raw in documents(50, padding=2000))
    version = await version_of(hub, alice, "alice/digits")
    assert (version.digest, version.pushed_by) == (receipt.digest, alice.account_id)


async def test_an_array_without_documents_comes_back_empty(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/nothing", [])
    assert await pull_stream(hub, alice, "alice/nothing") == stream([])


async def test_an_array_of_many_chunks_comes_back_whole(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(120, padding=60_000)
    await push_array(hub, alice, "alice/many", docs)
    assert len((await hub.arrays.manifest(await version_of(hub, alice, "alice/many"))).chunks) > 3
    assert await pull_array(hub, alice, "alice/many") == docs


async def test_a_document_above_the_largest_chunk_comes_back_whole(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = [document(0), document(1, padding=9_000_000), document(2), document(3, padding=5_000_000)]
    sent = stream(docs)
    await push_stream(hub, alice, "alice/large", sent)
    assert await pull_stream(hub, alice, "alice/large") == sent


async def test_chunks_of_the_new_client_come_back_as_a_stream_that_old_ones_read(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(300, padding=7000)
    await push_packed(hub, alice, "alice/packed", docs)
    assert await pull_array(hub, alice, "alice/packed") == docs


async def test_equal_documents_have_one_digest_whoever_encoded_them(hub: Hub) -> None:
    alice = await join_hub(hub)
    docs = documents(300, padding=7000)
    old = await push_array(hub, alice, "alice/old", docs)
    new = await push_packed(hub, alice, "alice/new", docs)
    assert new.digest == old.digest
    assert new.new_bytes == 0


async def test_a_file_comes_back_as_it_was(hub: Hub) -> None:
    alice = await join_hub(hub)
    data = random_bytes(1, 3_000_000)
    receipt = await push_file(hub, alice, "model.bin", data)
    assert receipt.visibility is Visibility.PRIVATE
    assert receipt.shown_name == "model.bin"
    assert await pull_file(hub, alice, "model.bin") == data


async def test_a_file_without_a_name_is_found_by_its_id(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_file(hub, alice, None, b"anything")
    second = await push_file(hub, alice, None, b"more", artifact_id=receipt.artifact_id)
    assert (receipt.shown_name, second.version, second.artifact_id) == (None, 2, receipt.artifact_id)


async def test_a_file_that_turns_out_to_be_an_array_is_one(hub: Hub) -> None:
    alice = await join_hub(hub)
    sent = stream(documents(20))
    async with hub.pusher.begin(alice) as push:
        push.open_file()
        await send(push, sent)
        content = await push.reread_as_array(await push.finish_file())
        await push.commit(PushRequest(name="alice/late", type=DOCUMENT_ARRAY), content)
    assert await pull_stream(hub, alice, "alice/late") == sent
    version = await version_of(hub, alice, "alice/late")
    manifest = await hub.arrays.manifest(version)
    # Its chunks, its manifest and its index: the first copy is gone.
    assert len(await stored_keys(hub.blobs)) == len(manifest.chunks) + 2


async def test_a_push_is_recorded_and_holds_no_lease_afterwards(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(2))
    async with hub.database.read() as session:
        pushed = (await session.scalars(select(Event).where(Event.kind == EventKind.ARTIFACT_PUSHED))).all()
        leases = (await session.scalars(select(BlobLease))).all()
    assert [(one.subject_id, one.details["version"]) for one in pushed] == [(receipt.artifact_id, 1)]
    assert not leases


async def test_a_lowered_ceiling_decides_what_a_receipt_says(hub: Hub) -> None:
    alice = await join_hub(hub, ceiling=Visibility.PRIVATE)
    receipt = await push_array(hub, alice, "alice/digits", documents(1), is_public=True)
    assert receipt.visibility is Visibility.PRIVATE


async def test_a_first_push_that_does_not_say_takes_the_default_and_a_later_one_leaves_it(hub: Hub) -> None:
    alice = await join_hub(hub, default=Visibility.PRIVATE)
    first = await push_array(hub, alice, "alice/digits", documents(1))
    await push_array(hub, alice, "alice/digits", documents(2), is_public=True)
    third = await push_array(hub, alice, "alice/digits", documents(3))
    assert (first.visibility, third.visibility) == (Visibility.PRIVATE, Visibility.PUBLIC)


# --- refusals ----------------------------------------------------------------------------------------------------

GOOD = stream([document(number) for number in range(5)])
BAD_STREAMS: dict[str, tuple[bytes, type[PalomarError]]] = {
    "empty": (b"", MalformedStream),
    "no array": (b"\x89PNG\r\n\x1a\n" + bytes(100), MalformedStream),
    "cut off in a document": (GOOD[:-3], MalformedStream),
    "cut off in a length": (GOOD + b"\0\0", MalformedStream),
    "too few documents": (stream(documents(5), count=6), CountMismatch),
    "too many documents": (stream(documents(5), count=4), CountMismatch),
    "a length of 4 GiB": (GOOD[:9] + b"\xff\xff\xff\xff" + GOOD[13:], MalformedStream),
    "not gzip": (GOOD[:9] + frame(b"x" * 40) + GOOD[9:], MalformedStream),
    "not protobuf": (stream([b"\xff" * 30]), MalformedStream),
    "a gzip bomb": (stream([])[:8] + b"\1" + frame(gzip.compress(bytes(80_000_000))), MalformedStream),
}


@pytest.mark.parametrize("case", BAD_STREAMS)
async def test_bytes_that_are_no_array_change_nothing(hub: Hub, case: str) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    data, error = BAD_STREAMS[case]
    with pytest.raises(error):
        await push_stream(hub, alice, "alice/digits", data)
    assert await state_of(hub) == before


async def test_a_stream_that_breaks_after_many_chunks_leaves_none_of_them(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    docs = [*documents(200, padding=100_000), document(0, padding=9_000_000)]
    with pytest.raises(MalformedStream):
        await push_stream(hub, alice, "alice/digits", stream(docs)[:-1])
    assert await state_of(hub) == before


BAD_TARGETS: dict[str, tuple[dict[str, Any], type[PalomarError]]] = {
    "bare": ({"name": "digits"}, BareNameRefused),
    "no name": ({"name": None}, BadParameter),
    "somebody else's": ({"name": "bob/digits"}, NotAllowed),
    "nobody's": ({"name": "nobody/digits"}, NotAllowed),
    "reserved": ({"name": "admin/digits"}, NotAllowed),
    "bad namespace": ({"name": "al_ice/digits"}, BadName),
    "bad resource": ({"name": "alice/.."}, BadName),
    "two slashes": ({"name": "alice/a/b"}, BadName),
    "a stale base": ({"name": "alice/digits", "base_version": 7}, VersionConflict),
}


@pytest.mark.parametrize("case", BAD_TARGETS)
async def test_a_push_to_a_wrong_name_changes_nothing(hub: Hub, case: str) -> None:
    alice = await join_hub(hub)
    await join_hub(hub, "bob")
    before = await state_of(hub)
    request, error = BAD_TARGETS[case]
    with pytest.raises(error) as refused:
        await push_array(hub, alice, docs=documents(5), **request)
    assert await state_of(hub) == before
    if case == "bare":
        assert "'alice/digits'" in refused.value.detail


async def test_a_foreign_namespace_and_one_that_does_not_exist_are_refused_in_the_same_words(hub: Hub) -> None:
    alice = await join_hub(hub)
    await join_hub(hub, "bob")
    with pytest.raises(NotAllowed) as foreign:
        await push_array(hub, alice, "bob/digits", documents(1))
    with pytest.raises(NotAllowed) as absent:
        await push_array(hub, alice, "eve/digits", documents(1))
    assert foreign.value.detail == absent.value.detail.replace("eve", "bob")


async def test_an_anonymous_push_and_one_without_the_scope_change_nothing(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    with pytest.raises(CredentialMissing):
        await push_array(hub, ANONYMOUS, "alice/digits", documents(1))
    reader = Subject(alice.account_id, alice.account_name, Credential.TOKEN, frozenset({Scope.READ}))
    with pytest.raises(NotAllowed, match="lacks the scope 'write'"):
        await push_array(hub, reader, "alice/digits", documents(1))
    assert await state_of(hub) == before


async def test_a_name_that_holds_a_file_takes_no_array(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_file(hub, alice, "digits", b"a file")
    before = await state_of(hub)
    with pytest.raises(BadParameter):
        await push_array(hub, alice, "alice/digits", documents(1))
    assert await state_of(hub) == before


async def test_a_type_that_contradicts_the_file_is_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    async with hub.pusher.begin(alice) as push:
        push.open_file()
        await push.write(b"anything")
        content = await push.finish_file()
        with pytest.raises(BadParameter):
            await push.commit(PushRequest(name="alice/x", type=DOCUMENT_ARRAY), content)


async def test_a_second_file_and_none_at_all_are_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    async with hub.pusher.begin(alice) as push:
        with pytest.raises(BadRequestBody, match="no file part"):
            await push.write(b"x")
        push.open_file()
        with pytest.raises(BadRequestBody, match="two file parts"):
            push.open_array()


async def test_what_is_larger_than_a_push_may_be_is_refused_while_it_arrives(hub: Hub) -> None:
    alice = await join_hub(hub)
    rules = hub.artifact_rules
    small = type(rules)(rules.bare_means_own, 100_000, rules.max_metadata_bytes, rules.ingest_limits)
    hub.pusher.rules = small
    before = await state_of(hub)
    with pytest.raises(TooLarge):
        await push_file(hub, alice, "large", bytes(100_001))
    assert await state_of(hub) == before


async def test_a_full_namespace_takes_what_adds_nothing_and_nothing_else(hub: Hub) -> None:
    quota_bytes = 300_000
    alice = await join_hub(hub, quota_bytes=quota_bytes)
    docs = documents(2, padding=100_000)
    await push_array(hub, alice, "alice/first", docs)
    before = await state_of(hub)
    with pytest.raises(QuotaExceeded) as refused:
        await push_array(hub, alice, "alice/second", documents(2, first=10, padding=100_000))
    assert refused.value.limit_bytes == quota_bytes
    assert await state_of(hub) == before
    assert (await push_array(hub, alice, "alice/copy", docs)).new_bytes == 0


async def test_a_push_that_is_left_without_a_commit_never_happened(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    async with hub.pusher.begin(alice) as push:
        push.open_array()
        await send(push, stream(documents(200, padding=100_000)))
        await push.finish_file()
    assert await state_of(hub) == before


async def test_a_push_that_is_cancelled_while_it_arrives_never_happened(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    begun = asyncio.Event()

    async def push_for_ever() -> None:
        async with hub.pusher.begin(alice) as push:
            push.open_array()
            await send(push, stream(documents(200, padding=100_000))[:-1])
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(push_for_ever())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await state_of(hub) == before


async def test_a_push_that_is_cancelled_when_its_commit_has_happened_is_whole(hub: Hub) -> None:
    """Whoever is told nothing may find the version or not; never one whose bytes are gone."""
    alice = await join_hub(hub)
    sent = stream(documents(30, padding=10_000))

    async def push_and_be_cancelled() -> None:
        async with hub.pusher.begin(alice) as push:
            push.open_array()
            await send(push, sent)
            content = await push.finish_file()
            task = asyncio.current_task()
            assert task is not None
            event.listen(Session, "after_commit", lambda _session: task.cancel(), once=True)
            await push.commit(PushRequest(name="alice/digits", type=DOCUMENT_ARRAY), content)

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(push_and_be_cancelled())
    assert await pull_stream(hub, alice, "alice/digits") == sent


async def test_what_was_imported_to_the_store_meanwhile_is_referenced_and_not_kept_twice(
    hub: Hub, blobs: BlobStore
) -> None:
    """Two pushes of the same new content: each stages its own copy, the one that commits last drops its own."""
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    docs = documents(60, padding=50_000)
    async with hub.pusher.begin(alice) as first, hub.pusher.begin(bob) as second:
        contents = []
        for push in (first, second):
            push.open_array()
            await send(push, stream(docs))
            contents.append(await push.finish_file())
        twice = len(await stored_keys(blobs))
        early = await first.commit(PushRequest(name="alice/same", type=DOCUMENT_ARRAY), contents[0])
        late = await second.commit(PushRequest(name="bob/same", type=DOCUMENT_ARRAY), contents[1])
    # Bob's receipt must not tell him that somebody has the same.
    assert late.new_bytes == early.new_bytes
    assert len(await stored_keys(blobs)) == twice // 2
    assert await pull_array(hub, alice, "alice/same") == docs
    assert await pull_array(hub, bob, "bob/same") == docs


async def test_a_bare_name_means_the_own_namespace_where_the_operator_says_so(hub: Hub) -> None:
    alice = await join_hub(hub)
    rules = hub.artifact_rules
    hub.pusher.rules = type(rules)(True, rules.max_push_bytes, rules.max_metadata_bytes, rules.ingest_limits)
    receipt = await push_array(hub, alice, "Digits", documents(3))
    assert (receipt.namespace, receipt.shown_name) == ("alice", "Digits")
    assert (await find(hub, alice, "alice/digits")).artifact.id == receipt.artifact_id
    assert (await find(hub, alice, "digits")).artifact.id == receipt.artifact_id
    assert decode(await pull_stream(hub, alice, "Digits")) == documents(3)
