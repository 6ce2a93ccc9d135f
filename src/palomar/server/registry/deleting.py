"""Content management (distribution-spec 1.1): tags, manifests and blobs go one by one, each at once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import ImageBlobInUse, ImageBlobUnknown, TagProtected
from palomar.contract.images import ImageDigest, ImageTag, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.registry.blobs import KIND as BLOB
from palomar.server.registry.find import FoundRepository, find_repository
from palomar.server.registry.manifest_rows import lock_repository, protected_stays
from palomar.server.registry.manifests import manifest_unknown
from palomar.server.registry.models import ImageManifest, ManifestBlob, ManifestChild, RepositoryBlob, TagRow


async def delete_tag(session: AsyncSession, subject: Subject, name: RepositoryName, tag: ImageTag) -> None:
    """The manifest stays. Raises ManifestUnknown, TagProtected, and as `find_repository`."""
    repository = await find_repository(session, subject, name, Action.IMAGE_DELETE)
    await lock_repository(session, repository.id)
    here = (TagRow.repository_id == repository.id, TagRow.name == tag)
    is_protected = await session.scalar(select(TagRow.is_protected).where(*here))
    if is_protected is None:
        raise manifest_unknown(name, tag)
    if is_protected:
        raise TagProtected(name, tag)
    with protected_stays(name, tag):
        await session.execute(delete(TagRow).where(*here))
    _record(session, EventKind.IMAGE_UNTAGGED, subject, repository, tag=tag)


async def delete_manifest(session: AsyncSession, subject: Subject, name: RepositoryName, digest: ImageDigest) -> None:
    """Its tags go with it; its blobs stay for the grace period, for a push that counts on them.

    An index that lists it stays, and so do its referrers: the specification asks for neither to be there at all.
    Raises ManifestUnknown, TagProtected, and as `find_repository`.
    """
    repository = await find_repository(session, subject, name, Action.IMAGE_DELETE)
    await lock_repository(session, repository.id)
    here = (ImageManifest.repository_id == repository.id, ImageManifest.digest == digest)
    manifest_id = await session.scalar(select(ImageManifest.id).where(*here))
    if manifest_id is None:
        raise manifest_unknown(name, digest)
    mine = (TagRow.repository_id == repository.id, TagRow.manifest_id == manifest_id)
    protected = await session.scalar(select(TagRow.name).where(*mine, TagRow.is_protected.is_(True)).limit(1))
    if protected is not None:
        raise TagProtected(name, protected)
    with protected_stays(name, digest):
        await session.execute(delete(TagRow).where(*mine))
    await forget_manifests(session, [manifest_id])
    _record(session, EventKind.IMAGE_DELETED, subject, repository, digest=digest)


async def forget_manifests(session: AsyncSession, manifest_ids: list[str]) -> None:
    """Rows of manifests without tags; what they let go of has its grace period from now on."""
    named = exists().where(
        ManifestBlob.manifest_id.in_(manifest_ids),
        ManifestBlob.repository_id == RepositoryBlob.repository_id,
        ManifestBlob.digest == RepositoryBlob.digest,
    )
    await session.execute(update(RepositoryBlob).where(named).values(touched_at=utc_now()))
    await session.execute(delete(ManifestBlob).where(ManifestBlob.manifest_id.in_(manifest_ids)))
    await session.execute(delete(ManifestChild).where(ManifestChild.manifest_id.in_(manifest_ids)))
    await session.execute(delete(ImageManifest).where(ImageManifest.id.in_(manifest_ids)))


async def delete_blob(session: AsyncSession, subject: Subject, name: RepositoryName, digest: ImageDigest) -> None:
    """From this repository alone; the bytes go with a collection, when nothing else has them.

    Raises ImageBlobInUse for one that a manifest here names. The specification lets a registry refuse a deletion
    (end-10: 400 or 405), and what it promises about pulling a manifest it could not keep without the blob. Raises
    ImageBlobUnknown, and as `find_repository`.
    """
    repository = await find_repository(session, subject, name, Action.IMAGE_DELETE)
    here = (RepositoryBlob.repository_id == repository.id, RepositoryBlob.digest == digest)
    # A manifest that is being pushed has its blobs locked: it is waited for, and seen below.
    blob_id = await session.scalar(select(RepositoryBlob.blob_id).where(*here).with_for_update())
    if blob_id is None:
        raise ImageBlobUnknown(BLOB, f"{name}@{digest}")
    by_manifest = (ManifestBlob.repository_id == repository.id, ManifestBlob.digest == digest)
    if await session.scalar(select(ManifestBlob.manifest_id).where(*by_manifest).limit(1)) is not None:
        raise ImageBlobInUse(digest)
    try:
        await session.execute(delete(RepositoryBlob).where(*here))
    except IntegrityError:
        raise ImageBlobInUse(digest) from None
    await session.execute(update(BlobRow).where(BlobRow.id == blob_id).values(touched_at=utc_now()))


def _record(session: AsyncSession, kind: EventKind, subject: Subject, repository: FoundRepository, **what: Any) -> None:
    record(
        session,
        kind,
        account_id=subject.account_id,
        namespace_id=repository.namespace_id,
        subject_id=repository.id,
        repository=str(repository.name),
        **what,
    )
