"""Uploads of blobs: in one request or many, broken off and gone on with, and never more than was asked for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from palomar.contract.errors import (
    BlobUploadInvalid,
    CredentialMissing,
    DigestMismatch,
    NotAllowed,
    PalomarError,
    QuotaExceeded,
    RepositoryUnknown,
    TooLarge,
    TooManyUploads,
    UploadOutOfOrder,
    UploadUnknown,
)
from palomar.contract.images import RepositoryName
from palomar.server.access.policy import ANONYMOUS
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.registry.models import ImageUpload
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.uploads import Uploads
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.factories.images import body_of, cut, digest_of
from tests.services.pushes import join_hub
from tests.services.registry_pushes import REPO, pull_blob, put_blob, state_of

DATA = bytes(range(256)) * 10
OTHER = RepositoryName("alice/letters")


def uploads_with(hub: Hub, **rules: int) -> Uploads:
    return replace(hub.registry.uploads, rules=RegistryRules(**rules))


async def kinds(hub: Hub) -> list[str]:
    async with hub.database.read() as session:
        return list((await session.scalars(select(BlobRow.kind).order_by(BlobRow.id))).all())


async def test_a_blob_in_one_request_is_there_when_it_is_answered(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = digest_of(DATA)
    stored = await hub.registry.uploads.put(alice, REPO, digest=digest, body=body_of(*cut(DATA, 100)), length=2560)
    assert (stored.digest, stored.size_bytes) == (digest, len(DATA))
    assert await pull_blob(hub, alice, digest) == DATA


async def test_one_part_becomes_the_blob_as_it_lies_there(hub: Hub) -> None:
    """What docker sends: POST, PATCH with everything, PUT without a body."""
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    state = await uploads.append(alice, REPO, upload.id, body=body_of(DATA))
    assert state.received_bytes == len(DATA)
    keys = await stored_keys(hub.blobs)
    assert await kinds(hub) == [BlobKind.PART]
    await uploads.finish(alice, REPO, upload.id, digest=digest_of(DATA))
    assert await stored_keys(hub.blobs) == keys
    assert await kinds(hub) == [BlobKind.OPAQUE]
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA


@pytest.mark.parametrize("in_last_request", [0, 1, 560])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_many_chunks_become_one_blob(hub: Hub, algorithm: str, in_last_request: int) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    chunked, last = DATA[: len(DATA) - in_last_request], DATA[len(DATA) - in_last_request :]
    start = 0
    for chunk in cut(chunked, 1000):
        await uploads.append(alice, REPO, upload.id, body=body_of(chunk), start=start, length=len(chunk))
        start += len(chunk)
    digest = digest_of(DATA, algorithm)
    await uploads.finish(alice, REPO, upload.id, digest=digest, body=body_of(last), length=len(last), start=start)
    assert await pull_blob(hub, alice, digest) == DATA
    assert await kinds(hub) == [BlobKind.OPAQUE]
    assert len(await stored_keys(hub.blobs)) == 1


async def test_a_blob_may_be_empty(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.finish(alice, REPO, upload.id, digest=digest_of(b""), body=body_of())
    assert await pull_blob(hub, alice, digest_of(b"")) == b""


async def test_what_the_hub_has_is_stored_once(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await put_blob(hub, alice, DATA)
    await put_blob(hub, bob, DATA, RepositoryName("bob/digits"))
    upload = await hub.registry.uploads.start(alice, OTHER)
    await hub.registry.uploads.append(alice, OTHER, upload.id, body=body_of(DATA))
    await hub.registry.uploads.finish(alice, OTHER, upload.id, digest=digest_of(DATA))
    assert len(await stored_keys(hub.blobs)) == 1
    assert await pull_blob(hub, bob, digest_of(DATA), RepositoryName("bob/digits")) == DATA


async def test_a_blob_has_a_name_for_every_digest_it_was_pushed_by(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, DATA)
    digest = digest_of(DATA, "sha512")
    await hub.registry.uploads.put(alice, REPO, digest=digest, body=body_of(DATA))
    assert await pull_blob(hub, alice, digest) == await pull_blob(hub, alice, digest_of(DATA)) == DATA
    assert len(await stored_keys(hub.blobs)) == 1


# --- order -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0, 999, 1001, 5000])
async def test_a_chunk_that_begins_elsewhere_is_refused_and_says_where_to_go_on(hub: Hub, start: int) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA[:1000]), start=0, length=1000)
    before = await state_of(hub)
    for refused in (
        uploads.append(alice, REPO, upload.id, body=body_of(DATA), start=start),
        uploads.finish(alice, REPO, upload.id, body=body_of(DATA), start=start, digest=digest_of(DATA)),
    ):
        with pytest.raises(UploadOutOfOrder) as refusal:
            await refused
        assert refusal.value.received_bytes == 1000
    assert await state_of(hub) == before
    await uploads.finish(alice, REPO, upload.id, body=body_of(DATA[1000:]), start=1000, digest=digest_of(DATA))
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA


async def test_of_two_chunks_at_once_one_wins(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    results = await asyncio.gather(
        *(uploads.append(alice, REPO, upload.id, body=body_of(DATA), start=0) for _ in range(4)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, UploadOutOfOrder)]
    assert len(refused) == 3
    assert {refusal.received_bytes for refusal in refused} == {len(DATA)}
    assert (await uploads.status(alice, REPO, upload.id)).received_bytes == len(DATA)
    assert len(await stored_keys(hub.blobs)) == 1


async def test_of_two_that_finish_at_once_one_wins(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA[:9]))
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA[9:]))
    results = await asyncio.gather(
        *(uploads.finish(alice, REPO, upload.id, digest=digest_of(DATA)) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["StoredBlob", *["UploadUnknown"] * 3]
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA
    assert len(await stored_keys(hub.blobs)) == 1


async def test_a_chunk_that_comes_while_the_upload_is_finished_is_lost_with_a_refusal(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA))

    async def body():
        yield b"too late"
        await uploads.finish(alice, REPO, upload.id, digest=digest_of(DATA))

    with pytest.raises(UploadUnknown):
        await uploads.append(alice, REPO, upload.id, body=body())
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA
    assert len(await stored_keys(hub.blobs)) == 1


# --- what breaks off, and what does not fit ----------------------------------------------------------------------


@pytest.mark.parametrize("error", [ConnectionResetError("gone"), asyncio.CancelledError()])
async def test_what_arrived_of_a_body_that_breaks_off_is_kept(hub: Hub, error: BaseException) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    with pytest.raises(type(error)):
        await uploads.append(alice, REPO, upload.id, body=body_of(DATA[:700], then=error), start=0, length=len(DATA))
    assert (await uploads.status(alice, REPO, upload.id)).received_bytes == 700
    with pytest.raises(type(error)):
        await uploads.finish(
            alice, REPO, upload.id, body=body_of(DATA[700:900], then=error), digest=digest_of(DATA), start=700
        )
    assert (await uploads.status(alice, REPO, upload.id)).received_bytes == 900
    await uploads.finish(alice, REPO, upload.id, body=body_of(DATA[900:]), digest=digest_of(DATA), start=900)
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA


async def test_a_whole_blob_that_breaks_off_leaves_nothing(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    with pytest.raises(ConnectionResetError):
        await hub.registry.uploads.put(
            alice, REPO, digest=digest_of(DATA), body=body_of(DATA[:9], then=ConnectionResetError())
        )
    assert await state_of(hub) == before


@pytest.mark.parametrize("length", [len(DATA) - 1, len(DATA) + 1])
async def test_another_length_than_announced_is_refused_and_not_kept(hub: Hub, length: int) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    before = await state_of(hub)
    for refused in (
        uploads.append(alice, REPO, upload.id, body=body_of(DATA), length=length),
        uploads.finish(alice, REPO, upload.id, body=body_of(DATA), length=length, digest=digest_of(DATA)),
        uploads.put(alice, REPO, body=body_of(DATA), length=length, digest=digest_of(DATA)),
    ):
        with pytest.raises(BlobUploadInvalid):
            await refused
    assert await state_of(hub) == before


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("parts", [0, 1, 3])
async def test_a_wrong_digest_ends_the_upload_and_leaves_nothing(hub: Hub, parts: int, algorithm: str) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    before = await state_of(hub)
    upload = await uploads.start(alice, REPO)
    for _ in range(parts):
        await uploads.append(alice, REPO, upload.id, body=body_of(DATA))
    wrong = digest_of(b"something else", algorithm)
    with pytest.raises(DigestMismatch) as refusal:
        await uploads.finish(alice, REPO, upload.id, digest=wrong)
    assert refusal.value.actual == digest_of(DATA * parts, algorithm)
    with pytest.raises(UploadUnknown):
        await uploads.status(alice, REPO, upload.id)
    with pytest.raises(DigestMismatch):
        await uploads.put(alice, REPO, digest=wrong, body=body_of(DATA))
    assert await state_of(hub) == before


async def test_a_blob_above_the_limit_is_refused_before_it_is_read(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), uploads_with(hub, max_blob_bytes=1000)
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA[:999]))
    before = await state_of(hub)
    unread = body_of(then=AssertionError("it was read"))
    for refused in (
        uploads.append(alice, REPO, upload.id, body=unread, length=2),
        uploads.append(alice, REPO, upload.id, body=body_of(b"a", b"b")),
        uploads.put(alice, REPO, body=unread, length=1001, digest=digest_of(DATA)),
    ):
        with pytest.raises(TooLarge):
            await refused
    assert await state_of(hub) == before


# --- whose -------------------------------------------------------------------------------------------------------


async def test_an_upload_is_known_to_its_caller_in_its_repository_alone(hub: Hub) -> None:
    alice, bob, uploads = await join_hub(hub), await join_hub(hub, "bob"), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.start(alice, OTHER)
    await uploads.start(bob, RepositoryName("bob/digits"))
    for subject, name, upload_id in (
        (alice, OTHER, upload.id),
        (bob, RepositoryName("bob/digits"), upload.id),
        (alice, REPO, "0" * 32),
        (alice, REPO, "../../etc/passwd"),
        (alice, REPO, ""),
    ):
        for refused in (
            uploads.status(subject, name, upload_id),
            uploads.cancel(subject, name, upload_id),
            uploads.append(subject, name, upload_id, body=body_of(DATA)),
            uploads.finish(subject, name, upload_id, digest=digest_of(DATA)),
        ):
            with pytest.raises(UploadUnknown):
                await refused
    assert (await uploads.status(alice, REPO, upload.id)).received_bytes == 0


async def test_nobody_uploads_to_what_is_not_theirs(hub: Hub) -> None:
    alice, bob, uploads = await join_hub(hub), await join_hub(hub, "bob"), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    refusals: dict[type[PalomarError], object] = {NotAllowed: bob, CredentialMissing: ANONYMOUS}
    for expected, subject in refusals.items():
        for refused in (
            uploads.start(subject, REPO),
            uploads.start(subject, RepositoryName("nobody/digits")),
            uploads.start(subject, RepositoryName("legacy/abcdefgh")),
            uploads.append(subject, REPO, upload.id, body=body_of(DATA)),
            uploads.put(subject, REPO, digest=digest_of(DATA), body=body_of(DATA)),
        ):
            with pytest.raises(expected):
                await refused
    with pytest.raises(RepositoryUnknown):
        await uploads.status(alice, RepositoryName("alice/nothing"), upload.id)


async def test_a_cancelled_upload_is_gone_with_its_bytes(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    before = await state_of(hub)
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA))
    await uploads.cancel(alice, REPO, upload.id)
    assert await state_of(hub) == before
    with pytest.raises(UploadUnknown):
        await uploads.cancel(alice, REPO, upload.id)


async def test_an_upload_that_was_left_alone_runs_out(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    async with hub.database.write() as session:
        await session.execute(update(ImageUpload).values(touched_at=utc_now() - timedelta(hours=25)))
    with pytest.raises(UploadUnknown):
        await uploads.append(alice, REPO, upload.id, body=body_of(DATA))


# --- limits ------------------------------------------------------------------------------------------------------


async def test_a_namespace_has_so_many_open_uploads_and_no_more(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    uploads = uploads_with(hub, max_open_uploads=3)
    started = [await uploads.start(alice, name) for name in (REPO, OTHER, REPO)]
    with pytest.raises(TooManyUploads):
        await uploads.start(alice, OTHER)
    await uploads.start(bob, RepositoryName("bob/digits"))
    await uploads.cancel(alice, REPO, started[0].id)
    await uploads.start(alice, OTHER)


async def test_an_upload_has_so_many_chunks_and_no_more(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), uploads_with(hub, max_parts=3)
    upload = await uploads.start(alice, REPO)
    for start in range(3):
        await uploads.append(alice, REPO, upload.id, body=body_of(DATA[start : start + 1]))
    with pytest.raises(BlobUploadInvalid, match="at most 3 chunks"):
        await uploads.append(alice, REPO, upload.id, body=body_of(then=AssertionError("it was read")))
    await uploads.finish(alice, REPO, upload.id, body=body_of(DATA[3:]), digest=digest_of(DATA))
    assert await pull_blob(hub, alice, digest_of(DATA)) == DATA


async def test_unfinished_bytes_count_in_the_quota(hub: Hub) -> None:
    alice, uploads = await join_hub(hub, quota_bytes=2000), hub.registry.uploads
    upload = await uploads.start(alice, REPO)
    await uploads.append(alice, REPO, upload.id, body=body_of(DATA[:1500]))
    second = await uploads.start(alice, OTHER)
    before = await state_of(hub)
    for refused in (
        uploads.append(alice, OTHER, second.id, body=body_of(then=AssertionError("it was read")), length=501),
        uploads.append(alice, OTHER, second.id, body=body_of(b"a" * 501)),
        uploads.put(alice, OTHER, digest=digest_of(b"a" * 501), body=body_of(b"a" * 501)),
    ):
        with pytest.raises(QuotaExceeded):
            await refused
    assert await state_of(hub) == before
    await uploads.finish(alice, REPO, upload.id, digest=digest_of(DATA[:1500]))
    await uploads.append(alice, OTHER, second.id, body=body_of(b"a" * 500))


async def test_pushes_at_once_do_not_share_the_same_room(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=2000)
    blobs = [bytes([number]) * 900 for number in range(5)]
    results = await asyncio.gather(*(put_blob(hub, alice, blob) for blob in blobs), return_exceptions=True)
    assert sum(isinstance(result, QuotaExceeded) for result in results) == 3
    assert len(await stored_keys(hub.blobs)) == 2


async def test_first_pushes_to_many_repositories_at_once_do_not_wait_for_each_other(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=1 << 20)
    names = [RepositoryName(f"alice/repo-{number}") for number in range(8)]
    digests = await asyncio.gather(*(put_blob(hub, alice, name.encode(), name) for name in names))
    for name, digest in zip(names, digests, strict=True):
        assert await pull_blob(hub, alice, digest, name) == name.encode()
