"""Purging: what was deleted too long ago to come back gives up its packages, and never its name and numbers."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from palomar.contract.errors import NotFound, TagProtected
from palomar.server.blobs.collection import Collector
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.executors.find import by_row_id
from palomar.server.executors.models import PushTask, Release
from palomar.server.executors.purge import purge_deleted
from palomar.server.executors.tasks import TaskLog, list_tasks, record_task
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.services.executor_pushes import (
    WEEK,
    deleted_ago,
    find,
    package,
    pull,
    push,
    release_of,
    set_namespace,
    state_of,
    tags,
    tags_by_name,
    undelete,
)
from tests.services.pushes import join_hub


async def releases_of(hub: Hub, executor_id: str) -> list[Release]:
    async with hub.database.read() as session:
        query = select(Release).where(Release.executor_id == executor_id).order_by(Release.number)
        return list((await session.scalars(query)).all())


async def test_what_was_deleted_before_the_window_gives_up_its_packages_and_what_was_read_from_them(hub: Hub) -> None:
    alice = await join_hub(hub)
    for number in range(3):
        data = package(f"{number}.", README_md=b"secret plans")
        digest = (await push(hub, alice, "Old", data, build_env={"TOKEN": "x"})).digest
    executor_id = await deleted_ago(hub, alice, "alice/Old", WEEK + timedelta(minutes=1))
    assert await purge_deleted(hub.database, older_than=WEEK) == 3
    releases = await releases_of(hub, executor_id)
    assert [release.number for release in releases] == [1, 2, 3]
    assert all(release.purged_at and release.package_id is None for release in releases)
    assert all(not release.facts and not release.build_env_names for release in releases)
    assert releases[-1].digest == digest
    async with hub.database.read() as session:
        purged = (await session.scalars(select(Event).where(Event.kind == EventKind.EXECUTOR_PURGED))).all()
    assert [(one.subject_id, one.details) for one in purged] == [(executor_id, {"releases": 3})]


async def test_plain_tags_go_and_a_protected_one_never_means_anything_else(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old", tags=tags("latest", "v1", protected=["v2"]))
    executor_id = await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    assert await tags_by_name(hub, executor_id) == {"v2": (1, True)}
    with pytest.raises(TagProtected):
        await push(hub, alice, "Old", tags=tags("v2"))
    await push(hub, alice, "Old", tags=tags("v3"))
    with pytest.raises(NotFound):
        await release_of(hub, alice, "alice/Old", "v2")
    assert (await release_of(hub, alice, "alice/Old")).number == 2


async def test_everything_else_is_left_alone(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("Old", "Recent", "Live"):
        await push(hub, alice, name, package(name), tags=tags("v1"))
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    recent = await deleted_ago(hub, alice, "alice/Recent", WEEK - timedelta(minutes=1))
    assert await purge_deleted(hub.database, older_than=WEEK) == 1
    await undelete(hub, alice, recent)
    for name in ("Recent", "Live"):
        assert await pull(hub, alice, f"alice/{name}", "v1") == package(name)


async def test_the_logs_of_its_pushes_go_and_those_of_others_stay(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("Old", "Live"):
        receipt = await push(hub, alice, name)
        log = TaskLog()
        log.add("console", "extractZip", "odd \0 and \ud800")
        async with hub.database.write() as session:
            record_task(
                session,
                log,
                account_id=alice.account_id,
                executor_id=receipt.executor_id,
                release_id=receipt.release_id,
                error="odd \0",
            )
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    found = await find(hub, alice, "alice/Live")
    async with hub.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(PushTask)) == 1
        (task,) = await list_tasks(session, alice, found, limit=10)
    assert (task.lines[0]["payload"], task.error) == ("odd \ufffd and \ufffd", "odd \ufffd")


async def test_a_second_purge_finds_nothing_and_records_nothing(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old")
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    before = await state_of(hub)
    assert await purge_deleted(hub.database, older_than=WEEK) == 0
    assert await state_of(hub) == before


async def test_small_batches_and_purges_at_once_do_the_same(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("One", "Two", "Three"):
        for number in range(3):
            await push(hub, alice, name, package(f"{number}."))
        await deleted_ago(hub, alice, f"alice/{name}", 2 * WEEK)
    counts = await asyncio.gather(*(purge_deleted(hub.database, older_than=WEEK, batch=2) for _ in range(2)))
    rest = await purge_deleted(hub.database, older_than=WEEK)
    assert sum(counts) + rest == 9
    async with hub.database.read() as session:
        kept = select(func.count()).select_from(Release).where(Release.purged_at.is_(None))
        assert await session.scalar(kept) == 0


async def test_purged_content_cannot_be_brought_back_whatever_the_window_says(hub: Hub) -> None:
    alice = await join_hub(hub)
    for number in range(2):
        await push(hub, alice, "Old", package(f"{number}."))
    executor_id = await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    with pytest.raises(NotFound):
        await undelete(hub, alice, executor_id, window=100 * WEEK)
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/Old")


async def test_a_push_after_the_purge_goes_on_counting_and_keeps_the_id(hub: Hub) -> None:
    alice = await join_hub(hub)
    first = await push(hub, alice, "Old", package("One."), tags=tags("v1"))
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    again = await push(hub, alice, "Old", package("Two."), tags=tags("v1"))
    assert (again.release, again.short_id) == (2, first.short_id)
    assert await purge_deleted(hub.database, older_than=timedelta(0)) == 0
    assert await pull(hub, alice, "alice/Old", "v1") == package("Two.")


async def test_collection_removes_the_bytes_that_nothing_else_needs(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old", package("Shared."))
    await push(hub, alice, "Copy", package("Shared."))
    shared = await stored_keys(hub.blobs)
    await push(hub, alice, "Unlike", package("Unlike."))
    for name in ("alice/Old", "alice/Unlike"):
        await deleted_ago(hub, alice, name, 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    await Collector(hub.database, hub.blobs, grace=timedelta(0)).run()
    assert await stored_keys(hub.blobs) == shared
    assert await pull(hub, alice, "alice/Copy") == package("Shared.")


async def test_what_was_let_go_has_its_grace_period_from_then_on(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old")
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    before = await stored_keys(hub.blobs)
    await Collector(hub.database, hub.blobs, grace=timedelta(hours=1)).run()
    assert await stored_keys(hub.blobs) == before


async def test_purged_bytes_no_longer_count_against_the_quota(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old", package(data_bin=b"\7" * 1000))
    await set_namespace(hub, "alice", quota_bytes=len(package(data_bin=b"\7" * 1000)))
    await deleted_ago(hub, alice, "alice/Old", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    await push(hub, alice, "New", package(data_bin=b"\6" * 1000))


async def test_the_purge_job_purges_executors_too(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "Old")
    executor_id = await deleted_ago(hub, alice, "alice/Old", timedelta(days=hub.settings.undelete_days + 1))
    purged = await hub.jobs._handlers["purge"]()
    assert (purged["versions"], purged["releases"], purged["pushes"]) == (0, 1, 0)
    async with hub.database.read() as session:
        found = await by_row_id(session, executor_id)
    assert found is not None
    assert found.is_deleted
