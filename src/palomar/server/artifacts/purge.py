"""Purging: what was deleted longer ago than it can be brought back gives up its content.

Rows stay. The name's tombstone keeps the name, the versions keep their numbers and lengths, so that nothing old can be
taken for something new. The bytes go with the next collection, unless something else references them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.blobs.references import give_grace
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database, in_batches
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record

BATCH = 200


async def purge_deleted(database: Database, *, older_than: timedelta, batch: int = BATCH) -> int:
    """The number of versions that gave up their content. Two at once do no harm; each batch stands for itself."""
    return await in_batches(_purge_batch, database, utc_now() - older_than, batch)


async def _purge_batch(database: Database, before: datetime, batch: int) -> int:
    async with database.write() as session:
        doomed = await _doomed(session, before, batch)
        version_ids = [row.version_id for row in doomed]
        await _touch_released(session, version_ids)
        await session.execute(delete(VersionChunk).where(VersionChunk.version_id.in_(version_ids)))
        given_up = update(Version).where(Version.id.in_(version_ids))
        await session.execute(given_up.values(content_id=None, index_id=None, purged_at=utc_now()))
        _record(session, doomed)
    return len(doomed)


async def _doomed(session: AsyncSession, before: datetime, batch: int) -> Sequence[Row[str, str, str]]:
    """The newest versions first: an artifact whose newest one is gone cannot be brought back in between.

    The artifacts' rows are locked, so a push that revives one comes before this or after it. One that is locked
    already is being revived, or purged by another process, and is left to the next time.
    """
    query = (
        select(Version.id.label("version_id"), Artifact.id.label("artifact_id"), Artifact.namespace_id)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(Artifact.deleted_at < before, Version.purged_at.is_(None))
        .order_by(Artifact.deleted_at, Artifact.id, Version.number.desc())
        .limit(batch)
        .with_for_update(of=Artifact, skip_locked=True)
    )
    return (await session.execute(query)).all()


async def _touch_released(session: AsyncSession, version_ids: Sequence[str]) -> None:
    """What the versions let go of has its grace period from now on."""
    await give_grace(session, select(VersionChunk.blob_id).where(VersionChunk.version_id.in_(version_ids)))
    for column in (Version.content_id, Version.index_id):
        await give_grace(session, select(column).where(Version.id.in_(version_ids)))


def _record(session: AsyncSession, doomed: Sequence[Row[str, str, str]]) -> None:
    versions = Counter((row.namespace_id, row.artifact_id) for row in doomed)
    for (namespace_id, artifact_id), count in versions.items():
        record(session, EventKind.ARTIFACT_PURGED, namespace_id=namespace_id, subject_id=artifact_id, versions=count)
