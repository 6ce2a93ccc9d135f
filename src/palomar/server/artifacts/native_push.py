"""A push in many requests: opened, fed with chunks in any order, committed once.

What was uploaded survives a crash of either side, since ``push_chunks`` references its blobs. A push may count on
chunks that it uploaded itself or that its own namespace references, and on no others: if knowing a digest were enough,
it would be enough to read a stranger's private data.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import NotFound, RateLimited, VersionConflict
from palomar.documents.kinds import DocumentKind
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.access.pushing import require_push
from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.target import check_type, push_path
from palomar.server.artifacts.values import PushRequest
from palomar.server.blobs.leases import BlobLease
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json, Moment, new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace

KIND = "push"
DIGESTS_PER_QUERY = 500

# A push lives for an hour past its last call at least; its rows are written anew only every now and then.
_IDLE = timedelta(minutes=75)
_FRESH = timedelta(minutes=60)
# What a request needs to store a chunk that it has in hand.
_ENOUGH = timedelta(minutes=30)
# A push holds a lease, and a lease holds collection back: no push may do that for ever.
_LIFE = timedelta(days=7)
_MAX_OPEN_PUSHES = 100
_RETRY_AFTER_S = 600
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


class PushRow(Base):
    """A push that is under way or, with ``version_id``, was committed: then a repeated commit finds its receipt.

    The blob lease of the same id covers what is stored and has no row yet.
    """

    __tablename__ = "pushes"
    __table_args__ = (
        Index("ix_pushes_account_id", "account_id"),
        Index("ix_pushes_namespace_id", "namespace_id"),
        Index("ix_pushes_version_id", "version_id"),
        Index("ix_pushes_expires_at", "expires_at"),
    )

    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    namespace_id: Mapped[str] = mapped_column(ForeignKey("namespaces.id"))
    # As the caller wrote it.
    name: Mapped[str] = mapped_column(String(300))
    document_kind: Mapped[str] = mapped_column(String(4))
    is_public: Mapped[bool | None]
    metadata_json: Mapped[Json | None] = mapped_column("metadata")
    message: Mapped[str] = mapped_column(String(500))
    base_version: Mapped[int | None]
    uploaded_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    version_id: Mapped[str | None] = mapped_column(ForeignKey("versions.id"))
    created_at: Mapped[Created]
    expires_at: Mapped[Moment]

    @property
    def kind(self) -> DocumentKind:
        return DocumentKind(self.document_kind)

    def as_request(self, artifact_type: str) -> PushRequest:
        return PushRequest(
            name=self.name,
            type=artifact_type,
            is_public=self.is_public,
            metadata=self.metadata_json,
            message=self.message,
            base_version=self.base_version,
        )


class PushChunk(Base):
    """A chunk that the push uploaded, with its entries of the document index, which are known from then on."""

    __tablename__ = "push_chunks"
    __table_args__ = (Index("ix_push_chunks_blob_id", "blob_id"),)

    push_id: Mapped[str] = mapped_column(ForeignKey("pushes.id", ondelete="CASCADE"), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)
    index_entries: Mapped[bytes] = mapped_column(LargeBinary)


@dataclass(frozen=True, slots=True)
class OpenedPush:
    push_id: str
    expires_at: datetime


async def open_push(
    session: AsyncSession, subject: Subject, request: PushRequest, kind: DocumentKind, rules: ArtifactRules
) -> OpenedPush:
    """Refuses now what the commit would refuse later: names, access, a version that somebody else pushed."""
    path, _ = await push_path(
        session, subject, request.name or "", is_document_array=True, bare_means_own=rules.bare_means_own
    )
    namespace = require_push(subject, Action.ARTIFACT_PUSH, path, await find_namespace(session, path.namespace))
    named = select(Artifact).where(Artifact.namespace_id == namespace.id, Artifact.name_key == path.name.key)
    _check_target(await session.scalar(named), request)
    await _check_open_pushes(session, subject)
    return await _insert_push(session, subject, request, kind, namespace)


def _check_target(artifact: Artifact | None, request: PushRequest) -> None:
    if artifact is not None:
        check_type(artifact, request)
    current = artifact.version if artifact else 0
    if request.base_version is not None and request.base_version != current:
        raise VersionConflict(request.name or "", request.base_version, current)


async def _check_open_pushes(session: AsyncSession, subject: Subject) -> None:
    mine = select(func.count()).select_from(PushRow).where(PushRow.account_id == subject.account_id)
    is_open = mine.where(PushRow.version_id.is_(None), PushRow.expires_at > utc_now())
    if (await session.scalar(is_open) or 0) >= _MAX_OPEN_PUSHES:
        raise RateLimited(_RETRY_AFTER_S)


async def _insert_push(
    session: AsyncSession, subject: Subject, request: PushRequest, kind: DocumentKind, namespace: NamespaceRow
) -> OpenedPush:
    now = utc_now()
    row = PushRow(
        id=new_id(),
        account_id=subject.account_id,
        namespace_id=namespace.id,
        name=request.name,
        document_kind=kind,
        is_public=request.is_public,
        metadata_json=request.metadata,
        message=request.message,
        base_version=request.base_version,
        created_at=now,
        expires_at=now + _IDLE,
    )
    session.add_all([row, BlobLease(id=row.id, started_at=now, expires_at=row.expires_at)])
    await session.flush()
    return OpenedPush(row.id, row.expires_at)


async def find_push(
    session: AsyncSession, subject: Subject, push_id: str, *, is_locked: bool = False, may_be_committed: bool = False
) -> PushRow:
    """Raises NotFound for somebody else's push, one that has run out, and one that is committed already."""
    row = await _select_push(session, push_id, is_locked=is_locked)
    if row is None or row.expires_at <= utc_now() or (row.version_id is not None and not may_be_committed):
        raise NotFound(KIND, push_id)
    resource = Resource(kind=KIND, name=push_id, owner_id=row.account_id, visibility=Visibility.PRIVATE)
    require(subject, Action.ARTIFACT_PUSH, resource)
    return row


async def _select_push(session: AsyncSession, push_id: str, *, is_locked: bool) -> PushRow | None:
    if not _ID.fullmatch(push_id):
        return None
    query = select(PushRow).where(PushRow.id == push_id).execution_options(populate_existing=True)
    row: PushRow | None = await session.scalar(query.with_for_update() if is_locked else query)
    return row


async def renew_push(session: AsyncSession, row: PushRow) -> None:
    """Its hour begins anew, and its lease's, unless there is more than that left."""
    if row.expires_at - utc_now() > _FRESH:
        return
    row.expires_at = min(utc_now() + _IDLE, row.created_at + _LIFE)
    await session.execute(update(BlobLease).where(BlobLease.id == row.id).values(expires_at=row.expires_at))


async def fresh_push(database: Database, subject: Subject, push_id: str) -> PushRow:
    """The push, which lives long enough for what a request does."""
    async with database.read() as session:
        row = await find_push(session, subject, push_id)
    if row.expires_at - utc_now() > _FRESH:
        return row
    async with renewing(database, subject, push_id) as (_, renewed):
        return renewed


async def still_fresh(database: Database, subject: Subject, row: PushRow) -> PushRow:
    """As `fresh_push`, of one that was read a while ago; the database is asked only if it was a long while."""
    if row.expires_at - utc_now() > _ENOUGH:
        return row
    return await fresh_push(database, subject, row.id)


@asynccontextmanager
async def renewing(database: Database, subject: Subject, push_id: str) -> AsyncIterator[tuple[AsyncSession, PushRow]]:
    """A transaction that holds the push's row and makes its hour begin anew."""
    async with database.write() as session:
        row = await find_push(session, subject, push_id, is_locked=True)
        await renew_push(session, row)
        yield session, row
        await session.flush()


async def missing_chunks(database: Database, subject: Subject, push_id: str, digests: Sequence[str]) -> list[str]:
    """Those that must be sent, in the order asked for."""
    async with renewing(database, subject, push_id):
        pass
    known: set[str] = set()
    async with database.read() as session:
        row = await find_push(session, subject, push_id)
        for batch in batches(list(set(digests))):
            known |= await _uploaded(session, push_id, batch)
            known |= (await referenced_chunks(session, row, batch)).keys()
    return [digest for digest in dict.fromkeys(digests) if digest not in known]


async def _uploaded(session: AsyncSession, push_id: str, digests: Collection[str]) -> set[str]:
    named = select(BlobRow.digest).where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest.in_(digests))
    joined = named.join(PushChunk, PushChunk.blob_id == BlobRow.id).where(PushChunk.push_id == push_id)
    return set((await session.scalars(joined)).all())


async def referenced_chunks(session: AsyncSession, row: PushRow, digests: Collection[str]) -> dict[str, str]:
    """Chunks that the push's own namespace references, by digest, each with the id of a version that has it.

    Only in versions of the same kind: what was checked as documents of one generation is unchecked as the other.
    """
    query = (
        select(BlobRow.digest, func.max(Version.id))
        .join(VersionChunk, VersionChunk.blob_id == BlobRow.id)
        .join(Version, Version.id == VersionChunk.version_id)
        .join(Artifact, Artifact.id == Version.artifact_id)
        .where(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest.in_(digests))
        .where(Artifact.namespace_id == row.namespace_id, Version.purged_at.is_(None))
        .where(Version.document_kind == row.document_kind)
        .group_by(BlobRow.digest)
    )
    return dict((await session.execute(query)).all())


async def abort_push(database: Database, subject: Subject, push_id: str) -> None:
    """What it uploaded is left to collection. A committed push is forgotten; its version stays."""
    async with database.write() as session:
        await find_push(session, subject, push_id, is_locked=True, may_be_committed=True)
        await _forget(session, [push_id])


def batches(digests: Sequence[str], size: int = DIGESTS_PER_QUERY) -> Iterator[Sequence[str]]:
    return (digests[start : start + size] for start in range(0, len(digests), size))


async def expire_pushes(database: Database) -> int:
    """Forgets the pushes whose hour is over; how many. To be called now and then; two at once do no harm."""
    expired = 0
    while count := await _expire_batch(database):
        expired += count
    return expired


async def _expire_batch(database: Database) -> int:
    async with database.write() as session:
        over = select(PushRow.id).where(PushRow.expires_at <= utc_now()).with_for_update(skip_locked=True)
        ids = (await session.scalars(over.limit(DIGESTS_PER_QUERY))).all()
        await _forget(session, ids)
    return len(ids)


async def _forget(session: AsyncSession, ids: Sequence[str]) -> None:
    await session.execute(delete(PushRow).where(PushRow.id.in_(ids)))
    await session.execute(delete(BlobLease).where(BlobLease.id.in_(ids)))
