"""Purging: what was deleted too long ago to come back gives up its content, and never its name and numbers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from palomar.contract.errors import NotFound
from palomar.server.access.policy import Subject
from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.artifacts.purge import purge_deleted
from palomar.server.blobs.collection import Collector
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.services.pushes import (
    documents,
    find,
    join_hub,
    pull_array,
    pull_file,
    push_array,
    push_file,
    state_of,
    version_of,
)
from tests.services.test_artifacts_manage import WEEK, delete, undelete


async def deleted_ago(hub: Hub, subject: Subject, name: str, ago: timedelta) -> str:
    artifact_id = (await delete(hub, subject, name)).artifact.id
    async with hub.database.write() as session:
        artifact = await session.get(Artifact, artifact_id)
        assert artifact is not None
        artifact.deleted_at = utc_now() - ago
    return artifact_id


async def versions_of(hub: Hub, artifact_id: str) -> list[Version]:
    async with hub.database.read() as session:
        query = select(Version).where(Version.artifact_id == artifact_id).order_by(Version.number)
        return list((await session.scalars(query)).all())


async def test_what_was_deleted_before_the_window_gives_up_its_content(hub: Hub) -> None:
    alice = await join_hub(hub)
    for count in (3, 4, 5):
        await push_array(hub, alice, "alice/old", documents(count, padding=1000))
    artifact_id = await deleted_ago(hub, alice, "alice/old", WEEK + timedelta(minutes=1))
    assert await purge_deleted(hub.database, older_than=WEEK) == 3
    versions = await versions_of(hub, artifact_id)
    assert [version.number for version in versions] == [1, 2, 3]
    assert all(version.purged_at and not version.content_id and not version.index_id for version in versions)
    assert len({version.stream_bytes for version in versions}) == 3
    async with hub.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(VersionChunk)) == 0
        purged = (await session.scalars(select(Event).where(Event.kind == EventKind.ARTIFACT_PURGED))).all()
    assert [(one.subject_id, one.details) for one in purged] == [(artifact_id, {"versions": 3})]


async def test_everything_else_is_left_alone(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("old", "recent", "live"):
        await push_array(hub, alice, f"alice/{name}", documents(3, padding=1000))
    await deleted_ago(hub, alice, "alice/old", 2 * WEEK)
    recent = await deleted_ago(hub, alice, "alice/recent", WEEK - timedelta(minutes=1))
    assert await purge_deleted(hub.database, older_than=WEEK) == 1
    await undelete(hub, alice, recent)
    for name in ("recent", "live"):
        assert await pull_array(hub, alice, f"alice/{name}") == documents(3, padding=1000)


async def test_a_second_purge_finds_nothing_and_records_nothing(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/old", documents(3))
    await deleted_ago(hub, alice, "alice/old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    before = await state_of(hub)
    assert await purge_deleted(hub.database, older_than=WEEK) == 0
    assert await state_of(hub) == before


async def test_small_batches_purge_the_same(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("one", "two", "three"):
        for count in (1, 2, 3):
            await push_array(hub, alice, f"alice/{name}", documents(count))
        await deleted_ago(hub, alice, f"alice/{name}", 2 * WEEK)
    assert await purge_deleted(hub.database, older_than=WEEK, batch=2) == 9
    async with hub.database.read() as session:
        kept = select(func.count()).select_from(Version).where(Version.purged_at.is_(None))
        assert await session.scalar(kept) == 0
        purged = (await session.scalars(select(Event).where(Event.kind == EventKind.ARTIFACT_PURGED))).all()
    assert sum(one.details["versions"] for one in purged) == 9


async def test_purged_content_cannot_be_brought_back_whatever_the_window_says(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/old", documents(3))
    artifact_id = await deleted_ago(hub, alice, "alice/old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    with pytest.raises(NotFound):
        await undelete(hub, alice, artifact_id, window=100 * WEEK)
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/old")


async def test_a_push_after_the_purge_goes_on_counting_and_old_versions_stay_gone(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/old", documents(3))
    await deleted_ago(hub, alice, "alice/old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    again = await push_array(hub, alice, "alice/old", documents(3))
    assert again.version == 2
    with pytest.raises(NotFound):
        await version_of(hub, alice, "alice/old", 1)
    assert (await version_of(hub, alice, "alice/old")).padding_bytes == 1  # a client may have the first one cached
    assert await purge_deleted(hub.database, older_than=timedelta(0)) == 0
    assert await pull_array(hub, alice, "alice/old") == documents(3)


async def test_collection_removes_the_bytes_that_nothing_else_needs(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/old", documents(3, padding=500_000))
    await push_file(hub, alice, "model", b"weights")
    shared = await stored_keys(hub.blobs)
    await push_array(hub, alice, "alice/copy", documents(3, padding=500_000))
    await push_array(hub, alice, "alice/unlike", documents(3, first=9, padding=500_000))
    for name in ("alice/old", "alice/unlike"):
        await deleted_ago(hub, alice, name, 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    await Collector(hub.database, hub.blobs, grace=timedelta(0)).run()
    assert await stored_keys(hub.blobs) == shared
    assert await pull_array(hub, alice, "alice/copy") == documents(3, padding=500_000)
    assert await pull_file(hub, alice, "model") == b"weights"


async def test_purged_bytes_no_longer_count_against_the_quota(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=150_000)
    await push_array(hub, alice, "alice/old", documents(1, padding=100_000))
    await deleted_ago(hub, alice, "alice/old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    await push_array(hub, alice, "alice/new", documents(1, first=5, padding=100_000))
