"""Purging: uploads that nobody goes on with, blobs that no manifest came to name, images of Executors that are gone.

Rows go here; the bytes go with the next collection, unless something else references them. Every batch stands for
itself, and two purges at once do no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Row, delete, exists, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.models import Executor
from palomar.server.registry.deleting import forget_manifests
from palomar.server.registry.models import (
    ImageManifest,
    ImageUpload,
    ManifestBlob,
    Repository,
    RepositoryBlob,
    TagRow,
    UploadPart,
)

BATCH = 500

_BlobNames = Sequence[Row[*tuple[str, str]]]
_IS_NAMED = exists().where(
    ManifestBlob.repository_id == RepositoryBlob.repository_id, ManifestBlob.digest == RepositoryBlob.digest
)


@dataclass(slots=True)
class PurgedImages:
    uploads: int = 0
    blobs: int = 0
    repositories: int = 0


async def purge_images(
    database: Database, *, upload_ttl: timedelta, grace: timedelta, undelete_window: timedelta, batch: int = BATCH
) -> PurgedImages:
    """``undelete_window``: an Executor that was deleted longer ago cannot be brought back."""
    return PurgedImages(
        uploads=await _in_batches(lambda: _purge_uploads(database, upload_ttl, batch)),
        repositories=await _in_batches(lambda: _purge_deleted(database, undelete_window)),
        blobs=await _purge_blobs(database, grace, batch),
    )


async def _in_batches(purge: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while count := await purge():
        total += count
    return total


# --- uploads -----------------------------------------------------------------------------------------------------


async def _purge_uploads(database: Database, upload_ttl: timedelta, batch: int) -> int:
    """One that a request is just adding to is locked, and lives on."""
    before = utc_now() - upload_ttl
    async with database.write() as session:
        query = select(ImageUpload.id).where(ImageUpload.touched_at < before).limit(batch)
        ids = (await session.scalars(query.with_for_update(skip_locked=True))).all()
        await session.execute(delete(UploadPart).where(UploadPart.upload_id.in_(ids)))
        await session.execute(delete(ImageUpload).where(ImageUpload.id.in_(ids)))
    return len(ids)


# --- blobs -------------------------------------------------------------------------------------------------------


async def _purge_blobs(database: Database, grace: timedelta, batch: int) -> int:
    purged, after = 0, ("", "")
    while names := await _unnamed(database, grace, batch, after):
        after = (names[-1].repository_id, names[-1].digest)
        purged += await _delete_unnamed(database, grace, names)
    return purged


async def _unnamed(database: Database, grace: timedelta, batch: int, after: tuple[str, str]) -> _BlobNames:
    """The next candidates, without a lock: the search takes longer than pushes should wait."""
    key = tuple_(RepositoryBlob.repository_id, RepositoryBlob.digest)
    query = select(RepositoryBlob.repository_id, RepositoryBlob.digest).where(key > tuple_(*after), ~_IS_NAMED)
    query = query.where(RepositoryBlob.touched_at < utc_now() - grace)
    async with database.read() as session:
        ordered = query.order_by(RepositoryBlob.repository_id, RepositoryBlob.digest)
        return (await session.execute(ordered.limit(batch))).all()


async def _delete_unnamed(database: Database, grace: timedelta, names: _BlobNames) -> int:
    """Those that may still go. A manifest that is being pushed has its blobs locked: they are left alone.

    Of a manifest whose push has just ended the second statement sees the rows; the first one may not have.
    """
    async with database.write() as session:
        locked = await _lock(session, names)
        gone = delete(RepositoryBlob).where(
            tuple_(RepositoryBlob.repository_id, RepositoryBlob.digest).in_(locked),
            RepositoryBlob.touched_at < utc_now() - grace,
            ~_IS_NAMED,
        )
        blob_ids = (await session.scalars(gone.returning(RepositoryBlob.blob_id))).all()
        await _touch(session, blob_ids)
    return len(blob_ids)


async def _lock(session: AsyncSession, names: _BlobNames) -> list[tuple[str, str]]:
    key = tuple_(RepositoryBlob.repository_id, RepositoryBlob.digest)
    query = select(RepositoryBlob.repository_id, RepositoryBlob.digest).where(key.in_([tuple(name) for name in names]))
    rows = await session.execute(query.with_for_update(skip_locked=True))
    return [(row.repository_id, row.digest) for row in rows]


async def _touch(session: AsyncSession, blob_ids: Sequence[int]) -> None:
    """The bytes have their grace period from now on: somebody may be reading them."""
    for blob_id in sorted(set(blob_ids)):
        await session.execute(update(BlobRow).where(BlobRow.id == blob_id).values(touched_at=utc_now()))


# --- images of Executors that are gone ---------------------------------------------------------------------------


async def _purge_deleted(database: Database, window: timedelta) -> int:
    """One repository that still holds something; its row stays, as the Executor's does, and keeps the name.

    The Executor's row is locked, so a push that revives it comes before this or after it.
    """
    has_content = or_(
        exists().where(ImageManifest.repository_id == Repository.id),
        exists().where(RepositoryBlob.repository_id == Repository.id),
    )
    query = (
        select(Repository.id, Repository.namespace_id)
        .join(Executor, Executor.id == Repository.executor_id)
        .where(Executor.deleted_at < utc_now() - window, has_content)
        .limit(1)
        .with_for_update(of=Executor, skip_locked=True)
    )
    async with database.write() as session:
        row = (await session.execute(query)).first()
        if row is None:
            return 0
        manifests = await _empty(session, row.id)
        record(
            session,
            EventKind.IMAGE_PURGED,
            namespace_id=row.namespace_id,
            subject_id=row.id,
            manifests=manifests,
        )
    return 1


async def _empty(session: AsyncSession, repository_id: str) -> int:
    manifest_ids = select(ImageManifest.id).where(ImageManifest.repository_id == repository_id)
    ids = list((await session.scalars(manifest_ids)).all())
    await session.execute(delete(TagRow).where(TagRow.repository_id == repository_id))
    for start in range(0, len(ids), BATCH):
        await forget_manifests(session, ids[start : start + BATCH])
    uploads = select(ImageUpload.id).where(ImageUpload.repository_id == repository_id)
    await session.execute(delete(UploadPart).where(UploadPart.upload_id.in_(uploads)))
    await session.execute(delete(ImageUpload).where(ImageUpload.repository_id == repository_id))
    gone = delete(RepositoryBlob).where(RepositoryBlob.repository_id == repository_id)
    await _touch(session, (await session.scalars(gone.returning(RepositoryBlob.blob_id))).all())
    return len(ids)
