"""Blobs of a repository: found, mounted from another one, and linked when they are pushed.

A digest opens nothing by itself. Every read goes through a repository that the caller may read, and content that the
hub has elsewhere is neither given nor admitted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Row, and_, bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import Busy, ImageBlobUnknown, NotAllowed, NotFound, Unauthenticated
from palomar.contract.images import ImageDigest, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.verified import StoredBytes
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.registry.find import FoundRepository, allowed, find_repository, named, open_repository, select_named
from palomar.server.registry.models import Repository, RepositoryBlob
from palomar.server.registry.usage import check_room
from palomar.server.registry.values import StoredBlob

KIND = "blob"
_ATTEMPTS = 3

_COLUMNS = (RepositoryBlob.blob_id, BlobRow.key, BlobRow.stored_bytes, BlobRow.stored_digest)
_IN_REPOSITORY = and_(RepositoryBlob.repository_id == Repository.id, RepositoryBlob.digest == bindparam("digest"))
_FOR_CALLER = (
    select_named(*_COLUMNS)
    .outerjoin(RepositoryBlob, _IN_REPOSITORY)
    .outerjoin(BlobRow, BlobRow.id == RepositoryBlob.blob_id)
)


class Link(NamedTuple):
    """A name for a blob, in whatever repository."""

    digest: str
    blob_id: int
    size_bytes: int
    is_base: bool = False


async def find_blob_for(database: Database, subject: Subject, name: RepositoryName, digest: ImageDigest) -> StoredBlob:
    """`find_repository` for reading and `find_blob` in one prepared SELECT: asked for every layer of every pull."""
    async with database.engine.connect() as connection:
        row = (await connection.execute(_FOR_CALLER, {**named(name), "digest": digest})).first()
    allowed(subject, Action.IMAGE_READ, name, row)
    return _stored(row, name, digest)


async def find_blob(session: AsyncSession, repository: FoundRepository, digest: ImageDigest) -> StoredBlob:
    """Raises ImageBlobUnknown."""
    query = select(*_COLUMNS).join(BlobRow, BlobRow.id == RepositoryBlob.blob_id)
    here = query.where(RepositoryBlob.repository_id == repository.id, RepositoryBlob.digest == digest)
    return _stored((await session.execute(here)).first(), repository.name, digest)


def _stored(row: Row[*tuple[Any, ...]] | None, name: RepositoryName, digest: ImageDigest) -> StoredBlob:
    if row is None or row.blob_id is None:
        raise ImageBlobUnknown(KIND, f"{name}@{digest}")
    at = StoredBytes(row.key, row.stored_bytes, row.stored_digest)
    return StoredBlob(digest, row.stored_bytes, at, row.blob_id)


async def mount_blob(
    session: AsyncSession, subject: Subject, name: RepositoryName, digest: ImageDigest, source: RepositoryName | None
) -> StoredBlob | None:
    """None where there is nothing to mount: then the client uploads, and learns no more than that.

    Distribution-spec 1.1, "Mounting a blob from another repository". From a repository that the caller may read; with
    none named, from any of the namespace that they push to, which is their own. Raises as a push does.
    """
    target = await open_repository(session, subject, name)
    link = await _mountable(session, subject, target, digest, source)
    if link is None:
        return None
    await link_blob(session, target.id, link)
    await check_room(session, target.namespace_id)
    return await find_blob(session, target, digest)


async def _mountable(
    session: AsyncSession,
    subject: Subject,
    target: FoundRepository,
    digest: ImageDigest,
    source: RepositoryName | None,
) -> Link | None:
    query = select(RepositoryBlob).where(RepositoryBlob.digest == digest)
    if source is None:
        own = select(Repository.id).where(Repository.namespace_id == target.namespace_id)
        query = query.where(RepositoryBlob.repository_id.in_(own))
    else:
        try:
            found = await find_repository(session, subject, source, Action.IMAGE_READ)
        except (NotFound, NotAllowed, Unauthenticated):
            return None
        query = query.where(RepositoryBlob.repository_id == found.id)
    # Locked, so that purging does not take the row, and collection not the bytes, in between.
    row = await session.scalar(query.limit(1).with_for_update(read=True, key_share=True))
    return None if row is None else Link(row.digest, row.blob_id, row.size_bytes, row.is_base)


async def link_blob(session: AsyncSession, repository_id: str, link: Link) -> None:
    """Gives a repository a blob, or notes that a push counts once more on one that it has. Raises Busy."""
    now = utc_now()
    row = {"repository_id": repository_id, **link._asdict(), "created_at": now, "touched_at": now}
    mine = update(RepositoryBlob).where(
        RepositoryBlob.repository_id == repository_id, RepositoryBlob.digest == link.digest
    )
    touch = mine.values(touched_at=now).returning(RepositoryBlob.blob_id)
    for _ in range(_ATTEMPTS):
        try:
            await insert_missing(session, RepositoryBlob, [row])
        except IntegrityError:
            break  # the bytes were collected
        if await session.scalar(touch) is not None:
            return
        # A row that stood in the way is purged meanwhile.
    raise Busy("What this push counts on was removed meanwhile")
