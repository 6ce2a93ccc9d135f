"""What the purge takes: uploads left alone, blobs that no manifest came to name, images of Executors that are gone."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from palomar.contract.errors import ImageBlobUnknown, ManifestUnknown, RepositoryUnknown, UploadUnknown
from palomar.contract.images import RepositoryName
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.executors.models import Executor
from palomar.server.registry.models import ImageUpload, Repository, RepositoryBlob, TagRow
from palomar.server.registry.purge import PurgedImages, purge_images
from palomar.server.wiring import Hub
from tests.factories.images import CONFIG, LAYER, body_of, digest_of, image
from tests.services.executor_pushes import WEEK, deleted_ago, kinds_of_events, undelete
from tests.services.executor_pushes import push as push_executor
from tests.services.pushes import join_hub, subject_of
from tests.services.registry_pushes import (
    REPO,
    pull,
    pull_blob,
    push_image,
    put,
    put_blob,
    remove_manifest,
    state_of,
)

DAY = timedelta(days=1)
NOW = timedelta(0)


async def purge(hub: Hub, *, ttl: timedelta = DAY, grace: timedelta = DAY, batch: int = 2) -> PurgedImages:
    return await purge_images(hub.database, upload_ttl=ttl, grace=grace, undelete_window=WEEK, batch=batch)


async def collect(hub: Hub, *, grace: timedelta = NOW) -> int:
    """When all uploads are over, and their lease with them."""
    await hub.registry.uploads.leases.close()
    return (await Collector(hub.database, hub.blobs, grace=grace).run()).blobs


async def age_blobs(hub: Hub, by: timedelta = 2 * DAY) -> None:
    async with hub.database.write() as session:
        await session.execute(update(RepositoryBlob).values(touched_at=utc_now() - by))


async def test_uploads_that_nobody_goes_on_with_go(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    before = await state_of(hub)
    old = [await uploads.start(alice, REPO) for _ in range(5)]
    for upload in old:
        await uploads.append(alice, REPO, upload.id, body=body_of(b"part of a layer"))
    async with hub.database.write() as session:
        await session.execute(update(ImageUpload).values(touched_at=utc_now() - 2 * DAY))
    young = await uploads.start(alice, REPO)
    assert await purge(hub) == PurgedImages(uploads=5)
    with pytest.raises(UploadUnknown):
        await uploads.status(alice, REPO, old[0].id)
    await uploads.cancel(alice, REPO, young.id)
    await collect(hub)
    assert await state_of(hub) == before


async def test_blobs_without_a_manifest_go_after_the_grace_period(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    loose = [await put_blob(hub, alice, bytes([number])) for number in range(5)]
    assert await purge(hub) == PurgedImages()
    await age_blobs(hub)
    assert await purge(hub) == PurgedImages(blobs=5)
    for digest in loose:
        with pytest.raises(ImageBlobUnknown):
            await pull_blob(hub, alice, digest)
    assert await pull_blob(hub, alice, digest_of(LAYER)) == LAYER
    assert await pull_blob(hub, alice, digest_of(CONFIG)) == CONFIG


async def test_a_push_that_counts_on_a_blob_begins_its_grace_period_anew(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, LAYER)
    await age_blobs(hub)
    await put_blob(hub, alice, LAYER)
    assert await purge(hub) == PurgedImages()
    await age_blobs(hub)
    assert await purge(hub) == PurgedImages(blobs=1)


async def test_what_a_manifest_lets_go_of_has_its_grace_period_from_then_on(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    await age_blobs(hub)
    await remove_manifest(hub, alice, digest)
    assert await purge(hub) == PurgedImages()
    await put(hub, alice, image())
    assert (await pull(hub, alice)).digest == digest


async def test_bytes_of_a_purged_blob_stay_for_those_who_are_reading_them(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, LAYER)
    await age_blobs(hub)
    async with hub.database.write() as session:
        await session.execute(update(BlobRow).values(touched_at=utc_now() - 2 * DAY))
    await purge(hub)
    assert await collect(hub, grace=DAY) == 0
    assert await collect(hub) == 1


async def executor_with_image(hub: Hub, name: str = "digits") -> str:
    alice = await join_hub(hub)
    receipt = await push_executor(hub, alice, name)
    await push_image(hub, alice)
    await push_image(hub, alice, b"another", tag="r1")
    await hub.registry.uploads.start(alice, REPO)
    async with hub.database.write() as session:
        await session.execute(update(Repository).values(executor_id=receipt.executor_id))
        await session.execute(update(TagRow).where(TagRow.name == "r1").values(is_protected=True))
    return receipt.executor_id


async def test_images_go_with_their_executor_after_the_undelete_window(hub: Hub) -> None:
    executor_id = await executor_with_image(hub)
    bob = await join_hub(hub, "bob")
    async with hub.database.write() as session:
        await session.execute(update(Executor).values(deleted_at=utc_now() - 8 * DAY))
    assert await purge(hub) == PurgedImages(repositories=1)
    assert await purge(hub) == PurgedImages()
    state = await state_of(hub)
    await collect(hub)
    assert {table: count for table, count in state.rows.items() if count} == {"blobs": 4}
    with pytest.raises(RepositoryUnknown):
        await pull(hub, bob)
    async with hub.database.read() as session:
        repository_id = (await session.scalars(select(Repository.id))).one()
        assert await session.scalar(select(Repository.executor_id)) == executor_id
    assert Counter(await kinds_of_events(hub, repository_id))[EventKind.IMAGE_PURGED] == 1


async def test_images_of_an_executor_that_is_brought_back_are_there_again(hub: Hub) -> None:
    await executor_with_image(hub)
    async with hub.database.read() as session:
        owner = (await session.scalars(select(ImageUpload.account_id))).one()
    alice = subject_of(owner, "alice")
    executor_id = await deleted_ago(hub, alice, "alice/digits", 6 * DAY)
    await age_blobs(hub)
    assert await purge(hub) == PurgedImages()
    with pytest.raises(RepositoryUnknown):
        await pull(hub, alice)
    await undelete(hub, alice, executor_id)
    assert (await pull(hub, alice, "r1")).content == image(b"another")
    assert await pull_blob(hub, alice, digest_of(LAYER)) == LAYER


async def test_other_repositories_are_left_alone(hub: Hub) -> None:
    await executor_with_image(hub)
    bob = await join_hub(hub, "bob")
    bobs = RepositoryName("bob/digits")
    await push_image(hub, bob, name=bobs)
    async with hub.database.write() as session:
        await session.execute(update(Executor).values(deleted_at=utc_now() - 8 * DAY))
    assert (await purge(hub, grace=NOW)).repositories == 1
    await collect(hub)
    assert (await pull(hub, bob, name=bobs)).content == image()
    assert await pull_blob(hub, bob, digest_of(LAYER), bobs) == LAYER
    with pytest.raises(ManifestUnknown):
        await pull(hub, bob, "r1", bobs)
