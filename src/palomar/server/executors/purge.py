"""Purging: what was deleted longer ago than it can be brought back gives up its packages.

Rows stay: the Executor's keeps the name, the releases' keep their numbers and digests. What was read from the packages
goes with them, and so do the logs of their pushes. Tags go too, except protected ones, which never mean anything else
again. The bytes go with the next collection, unless something else references them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.blobs.references import give_grace
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database, in_batches
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.models import Executor, PushTask, Release, ReleaseTag

BATCH = 200

_Doomed: TypeAlias = Sequence[Row[str, str, str]]


async def purge_deleted(database: Database, *, older_than: timedelta, batch: int = BATCH) -> int:
    """The number of releases that gave up their package. Two at once do no harm; each batch stands for itself."""
    return await in_batches(_purge_batch, database, utc_now() - older_than, batch)


async def _purge_batch(database: Database, before: datetime, batch: int) -> int:
    async with database.write() as session:
        doomed = await _doomed(session, before, batch)
        release_ids = [row.release_id for row in doomed]
        await _touch_released(session, release_ids)
        await _forget_around(session, doomed)
        given_up = update(Release).where(Release.id.in_(release_ids))
        await session.execute(given_up.values(package_id=None, facts={}, build_env_names=[], purged_at=utc_now()))
        _record(session, doomed)
    return len(doomed)


async def _doomed(session: AsyncSession, before: datetime, batch: int) -> _Doomed:
    """The newest releases first: an Executor whose newest one is gone cannot be brought back in between.

    The Executors' rows are locked, so a push that revives one comes before this or after it. One that is locked
    already is being revived, or purged by another process, and is left to the next time.
    """
    query = (
        select(Release.id.label("release_id"), Executor.id.label("executor_id"), Executor.namespace_id)
        .join(Executor, Executor.id == Release.executor_id)
        .where(Executor.deleted_at < before, Release.purged_at.is_(None))
        .order_by(Executor.deleted_at, Executor.id, Release.number.desc())
        .limit(batch)
        .with_for_update(of=Executor, skip_locked=True)
    )
    return (await session.execute(query)).all()


async def _touch_released(session: AsyncSession, release_ids: Sequence[str]) -> None:
    """What the releases let go of has its grace period from now on."""
    await give_grace(session, select(Release.package_id).where(Release.id.in_(release_ids)))


async def _forget_around(session: AsyncSession, doomed: _Doomed) -> None:
    release_ids = [row.release_id for row in doomed]
    executor_ids = list({row.executor_id for row in doomed})
    plain = delete(ReleaseTag).where(ReleaseTag.release_id.in_(release_ids), ReleaseTag.is_protected.is_(False))
    await session.execute(plain)
    await session.execute(delete(PushTask).where(PushTask.executor_id.in_(executor_ids)))


def _record(session: AsyncSession, doomed: _Doomed) -> None:
    releases = Counter((row.namespace_id, row.executor_id) for row in doomed)
    for (namespace_id, executor_id), count in releases.items():
        record(session, EventKind.EXECUTOR_PURGED, namespace_id=namespace_id, subject_id=executor_id, releases=count)
