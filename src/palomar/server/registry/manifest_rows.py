"""The transaction that gives a repository a manifest: what it must find there, and what it writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import Busy, ManifestIncomplete, ManifestInvalid, TagProtected
from palomar.contract.images import ImageDigest
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.registry.document import ParsedManifest
from palomar.server.registry.models import (
    ImageManifest,
    ManifestBlob,
    ManifestChild,
    Repository,
    RepositoryBlob,
    TagRow,
)
from palomar.server.registry.values import Descriptor

_DIGESTS_PER_QUERY = 500


async def lock_repository(session: AsyncSession, repository_id: str) -> None:
    """Manifests and tags of one repository change one after another; uploads to it do not wait for them."""
    this = select(Repository.id).where(Repository.id == repository_id)
    await session.execute(this.with_for_update(key_share=True))


async def add_manifest(
    session: AsyncSession, repository_id: str, digest: ImageDigest, parsed: ParsedManifest, content: bytes
) -> str:
    """The id of the manifest, which may have been there before. The repository is locked.

    Raises ManifestIncomplete for what the repository lacks, ManifestInvalid for a size that is not the content's or a
    type that is not the one under which these very bytes are stored.
    """
    await _check_references(session, repository_id, parsed)
    row = _row(repository_id, digest, parsed, content)
    await insert_missing(session, ImageManifest, [row])
    named = select(ImageManifest.id, ImageManifest.media_type).where(
        ImageManifest.repository_id == repository_id, ImageManifest.digest == digest
    )
    manifest_id, media_type = (await session.execute(named)).one()
    if media_type != parsed.media_type:
        raise ManifestInvalid(f"these bytes are stored as {media_type} already")
    if manifest_id == row["id"]:
        await _add_references(session, repository_id, manifest_id, parsed)
    return str(manifest_id)


def _row(repository_id: str, digest: ImageDigest, parsed: ParsedManifest, content: bytes) -> dict[str, Any]:
    return {
        "id": new_id(),
        "repository_id": repository_id,
        "digest": digest,
        "media_type": parsed.media_type,
        "artifact_type": parsed.artifact_type,
        "content": content,
        "size_bytes": len(content),
        "subject_digest": parsed.subject.digest if parsed.subject else None,
        "annotations": parsed.annotations,
        "created_at": utc_now(),
    }


# --- what it refers to -------------------------------------------------------------------------------------------


async def _check_references(session: AsyncSession, repository_id: str, parsed: ParsedManifest) -> None:
    blobs = await _blob_sizes(session, repository_id, [blob.digest for blob in parsed.blobs])
    children = await _manifest_sizes(session, repository_id, [child.digest for child in parsed.children])
    missing = [*_missing(parsed.blobs, blobs), *_missing(parsed.children, children)]
    if missing:
        raise ManifestIncomplete("it names blobs or manifests that were not pushed", missing)
    _check_sizes(parsed.blobs, blobs)
    _check_sizes(parsed.children, children)


def _missing(wanted: Iterable[Descriptor], found: dict[str, int]) -> list[str]:
    return list(dict.fromkeys(str(entry.digest) for entry in wanted if entry.digest not in found))


def _check_sizes(wanted: Iterable[Descriptor], found: dict[str, int]) -> None:
    for entry in wanted:
        if entry.size_bytes != found[entry.digest]:
            raise ManifestInvalid(f"{entry.digest} has {found[entry.digest]:,} bytes, not {entry.size_bytes:,}")


async def _blob_sizes(session: AsyncSession, repository_id: str, digests: Sequence[str]) -> dict[str, int]:
    """Locked until the transaction ends: purging leaves them alone, and so does whoever deletes one."""
    here = select(RepositoryBlob.digest, RepositoryBlob.size_bytes).where(RepositoryBlob.repository_id == repository_id)
    found: dict[str, int] = {}
    for batch in _batches(sorted(set(digests))):
        query = here.where(RepositoryBlob.digest.in_(batch)).order_by(RepositoryBlob.digest)
        rows = await session.execute(query.with_for_update(read=True, key_share=True))
        found.update((row.digest, row.size_bytes) for row in rows)
    return found


async def _manifest_sizes(session: AsyncSession, repository_id: str, digests: Sequence[str]) -> dict[str, int]:
    here = select(ImageManifest.digest, ImageManifest.size_bytes).where(ImageManifest.repository_id == repository_id)
    found: dict[str, int] = {}
    for batch in _batches(sorted(set(digests))):
        rows = await session.execute(here.where(ImageManifest.digest.in_(batch)))
        found.update((row.digest, row.size_bytes) for row in rows)
    return found


def _batches(digests: Sequence[str]) -> Iterator[Sequence[str]]:
    return (digests[start : start + _DIGESTS_PER_QUERY] for start in range(0, len(digests), _DIGESTS_PER_QUERY))


async def _add_references(session: AsyncSession, repository_id: str, manifest_id: str, parsed: ParsedManifest) -> None:
    blobs = sorted({str(blob.digest) for blob in parsed.blobs})
    children = sorted({str(child.digest) for child in parsed.children})
    rows = [{"manifest_id": manifest_id, "repository_id": repository_id, "digest": digest} for digest in blobs]
    try:
        await insert_missing(session, ManifestBlob, rows)
    except IntegrityError:
        # The table has the last word; with the rows locked it should never have to speak.
        raise Busy("What this push counts on was removed meanwhile") from None
    rows = [{"manifest_id": manifest_id, "digest": digest} for digest in children]
    await insert_missing(session, ManifestChild, rows)


# --- tags --------------------------------------------------------------------------------------------------------


async def move_tag(
    session: AsyncSession,
    repository_id: str,
    tag: str,
    manifest_id: str,
    *,
    shown_name: str,
    is_protected: bool = False,
) -> None:
    """The repository is locked. Raises TagProtected for one that points elsewhere and must stay there."""
    now = utc_now()
    row = {
        "repository_id": repository_id,
        "name": tag,
        "manifest_id": manifest_id,
        "is_protected": is_protected,
        "moved_at": now,
    }
    await insert_missing(session, TagRow, [row])
    this = update(TagRow).where(TagRow.repository_id == repository_id, TagRow.name == tag)
    with protected_stays(shown_name, tag):
        await session.execute(
            this.where(TagRow.manifest_id != manifest_id).values(manifest_id=manifest_id, moved_at=now)
        )
    if is_protected:
        await session.execute(this.where(TagRow.is_protected.is_(False)).values(is_protected=True))


@contextmanager
def protected_stays(shown_name: str, tag: str) -> Iterator[None]:
    """Puts the table's own refusal to move or delete a protected tag into words."""
    try:
        yield
    except IntegrityError:
        raise TagProtected(shown_name, tag) from None
