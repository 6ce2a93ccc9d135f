"""The transaction that turns staged bytes into a version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from sqlalchemy import Select, func, insert, select, union
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.contract.errors import Busy, VersionConflict
from palomar.documents.render import stream_bytes
from palomar.server.access.policy import Subject
from palomar.server.artifacts.counts import note_live
from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.artifacts.resource import Found
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.target import PushTarget, find_target
from palomar.server.artifacts.values import Content, PushRequest, Receipt
from palomar.server.blobs.staging import AdoptedBlob, BlobName, Staging
from palomar.server.db.columns import new_id, utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.quota import check_quota, counts_as_used

_ROWS_PER_STATEMENT = 10_000
_IDS_PER_QUERY = 500

Committed: TypeAlias = tuple[Receipt, dict[BlobName, AdoptedBlob]]


async def commit_version(
    session: AsyncSession,
    staging: Staging,
    subject: Subject,
    request: PushRequest,
    content: Content,
    rules: ArtifactRules,
) -> Committed:
    """Checks everything that the names, the access rules and the quota say, then writes the version."""
    target = await find_target(session, subject, request, rules)
    artifact = target.artifact
    if request.base_version is not None and request.base_version != artifact.version:
        raise VersionConflict(request.name or artifact.id, request.base_version, artifact.version)
    return await add_version(session, staging, target, request, content, pushed_by=subject.account_id)


async def add_version(
    session: AsyncSession,
    staging: Staging,
    target: PushTarget,
    request: PushRequest,
    content: Content,
    *,
    pushed_by: str | None,
    kind: EventKind = EventKind.ARTIFACT_PUSHED,
) -> Committed:
    """The next version of an artifact that is locked and that the caller may write to."""
    artifact = target.artifact
    adopted = await _adopt(session, staging)
    new_bytes = await bytes_new_to(session, target.namespace, adopted.values())
    await check_quota(session, target.namespace, new_bytes)
    version = await _write_version(session, target, request, content, adopted, pushed_by, new_bytes)
    was_live = artifact.version > 0 and artifact.deleted_at is None
    _update_artifact(target, request, version)
    if not was_live:
        await note_live(session, artifact, 1)
    record(
        session,
        kind,
        account_id=pushed_by,
        namespace_id=target.namespace.id,
        subject_id=artifact.id,
        version=version.number,
        digest=version.digest,
    )
    await session.flush()
    return _receipt(target, version), adopted


async def _adopt(session: AsyncSession, staging: Staging) -> dict[BlobName, AdoptedBlob]:
    try:
        return await staging.adopt(session)
    except IntegrityError:
        raise Busy("What this push counts on was removed meanwhile") from None


async def bytes_new_to(session: AsyncSession, namespace: NamespaceRow, blobs: Iterable[AdoptedBlob]) -> int:
    """Stored bytes that the namespace did not have, whoever else has the same.

    Counted so, neither a receipt nor a quota tells whether a stranger's private array holds certain documents.
    """
    sizes = {blob.id: blob.stored_bytes for blob in blobs}
    ids = list(sizes)
    for start in range(0, len(ids), _IDS_PER_QUERY):
        for blob_id in await _referenced(session, namespace, ids[start : start + _IDS_PER_QUERY]):
            sizes.pop(blob_id, None)
    return sum(sizes.values())


async def _referenced(session: AsyncSession, namespace: NamespaceRow, ids: Sequence[int]) -> Sequence[int]:
    owned = select(Version.id).join(Artifact, Artifact.id == Version.artifact_id)
    owned = owned.where(Artifact.namespace_id == namespace.id)
    whole = (
        owned.with_only_columns(column).where(column.in_(ids)) for column in (Version.content_id, Version.index_id)
    )
    chunks = select(VersionChunk.blob_id).where(VersionChunk.blob_id.in_(ids), VersionChunk.version_id.in_(owned))
    return (await session.scalars(union(chunks, *whole))).all()


@counts_as_used
def _versions_bytes(namespace_id: str) -> Select[int]:
    pushed = select(func.coalesce(func.sum(Version.new_bytes), 0)).join(Artifact, Artifact.id == Version.artifact_id)
    return pushed.where(Artifact.namespace_id == namespace_id, Version.purged_at.is_(None))


async def _write_version(
    session: AsyncSession,
    target: PushTarget,
    request: PushRequest,
    content: Content,
    adopted: dict[BlobName, AdoptedBlob],
    pushed_by: str | None,
    new_bytes: int,
) -> Version:
    length, padding = await _stream_length(session, target.artifact, content, adopted)
    version = Version(
        id=new_id(),
        artifact_id=target.artifact.id,
        number=target.artifact.version + 1,
        document_kind=content.kind,
        digest=content.blob[1],
        content_id=adopted[content.blob].id,
        index_id=adopted[content.index].id if content.index else None,
        documents=content.documents,
        raw_bytes=content.raw_bytes,
        new_bytes=new_bytes,
        stream_bytes=length,
        padding_bytes=padding,
        metadata_json=request.metadata,
        message=request.message,
        pushed_by=pushed_by,
        created_at=utc_now(),
    )
    session.add(version)
    await session.flush()
    await _reference_chunks(session, version.id, {adopted[name].id for name in content.chunks})
    return version


async def _reference_chunks(session: AsyncSession, version_id: str, blob_ids: set[int]) -> None:
    rows = [{"version_id": version_id, "blob_id": blob_id} for blob_id in sorted(blob_ids)]
    try:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            await session.execute(insert(VersionChunk), rows[start : start + _ROWS_PER_STATEMENT])
    except IntegrityError:
        raise Busy("What this push counts on was removed meanwhile") from None


async def _stream_length(
    session: AsyncSession, artifact: Artifact, content: Content, adopted: dict[BlobName, AdoptedBlob]
) -> tuple[int, int]:
    """The length of an old client's download, and how much of it is padding.

    Old clients trust a cached file whose length equals the Content-Length (docarray 0.13.29 to 0.38), so no two
    versions of an artifact may have the same. An array without documents has no member to pad, and needs none: all
    such arrays are equal.
    """
    if content.kind is None:
        return content.raw_bytes, 0
    length = stream_bytes(adopted[name].members_bytes for name in content.chunks)
    if not content.documents:
        return length, 0
    taken = select(Version.stream_bytes).where(Version.artifact_id == artifact.id, Version.stream_bytes >= length)
    lengths = set((await session.scalars(taken.where(Version.documents > 0))).all())
    padding = next(extra for extra in range(len(lengths) + 1) if length + extra not in lengths)
    return length + padding, padding


def _update_artifact(target: PushTarget, request: PushRequest, version: Version) -> None:
    artifact = target.artifact
    artifact.version = version.number
    artifact.documents = version.documents
    artifact.raw_bytes = version.raw_bytes
    artifact.kind = request.type
    artifact.metadata_json = request.metadata
    artifact.updated_at = version.created_at
    artifact.is_bare = target.is_bare
    if request.is_public is not None:
        artifact.visibility = Visibility.PUBLIC if request.is_public else Visibility.PRIVATE
    if artifact.deleted_at is not None:
        artifact.deleted_at = None
        artifact.created_at = version.created_at


def _receipt(target: PushTarget, version: Version) -> Receipt:
    found = Found(target.artifact, target.namespace)
    return Receipt(
        artifact_id=target.artifact.id,
        namespace=target.namespace.name,
        name=target.artifact.name,
        shown_name=found.shown_name,
        version=version.number,
        digest=version.digest,
        documents=version.documents,
        raw_bytes=version.raw_bytes,
        stream_bytes=version.stream_bytes,
        new_bytes=version.new_bytes,
        visibility=found.visibility,
        durable_at=version.created_at,
    )
