"""The moving tags of an Executor's images follow the tags of its releases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.builds.models import Build
from palomar.server.builds.states import BuildState
from palomar.server.db.columns import utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.executors.models import Release, ReleaseTag
from palomar.server.registry.models import ImageManifest, Repository, TagRow


def immutable_tag(release: int, manifest_digest: str) -> str:
    """``r3-0123456789ab``: clients keep an image's name for ever, so what it names must never change."""
    return f"r{release}-{manifest_digest.partition(':')[2][:12]}"


class _Image(NamedTuple):
    manifest_id: str
    is_protected: bool


async def sync_image_tags(session: AsyncSession, executor_id: str) -> None:
    """After a build, and after whatever moved a tag of a release, in the same transaction.

    A release's tag names the image that its pusher's build made. While there is none the image has no such tag: what
    'latest' named before is another release. Tags that somebody pushed images of their own under are left alone,
    unless a release with an image has that tag. Where a release's tag is protected, so is the image's.
    """
    for repository_id in await session.scalars(select(Repository.id).where(Repository.executor_id == executor_id)):
        wanted = await _wanted(session, executor_id, repository_id)
        await _drop_stale(session, executor_id, repository_id, wanted)
        await _set(session, repository_id, wanted)


async def _wanted(session: AsyncSession, executor_id: str, repository_id: str) -> dict[str, _Image]:
    columns = (ReleaseTag.name, ReleaseTag.release_id, ReleaseTag.is_protected)
    tags = (await session.execute(select(*columns).where(ReleaseTag.executor_id == executor_id))).all()
    images = await _images(session, {tag.release_id for tag in tags})
    manifests = await _manifest_ids(session, repository_id, images.values())
    ids = {release_id: manifests[digest] for release_id, digest in images.items() if digest in manifests}
    return {tag.name: _Image(ids[tag.release_id], tag.is_protected) for tag in tags if tag.release_id in ids}


async def _images(session: AsyncSession, release_ids: Iterable[str]) -> dict[str, str]:
    """By release: the newest manifest of the variant that came out first."""
    query = select(Build.release_id, Build.variant_key, Build.manifest_digest)
    query = query.where(Build.release_id.in_(list(release_ids)), Build.state == BuildState.SUCCEEDED)
    rows = (await session.execute(query.order_by(Build.created_at.desc(), Build.id.desc()))).all()
    variants = {row.release_id: row.variant_key for row in rows}
    # From the newest on, so that it is the oldest variant which is left, and of its manifests the newest.
    newest_last = [row for row in reversed(rows) if row.variant_key == variants[row.release_id]]
    return {row.release_id: row.manifest_digest for row in newest_last}


async def _manifest_ids(session: AsyncSession, repository_id: str, digests: Iterable[str]) -> dict[str, str]:
    query = select(ImageManifest.digest, ImageManifest.id).where(ImageManifest.repository_id == repository_id)
    return {row.digest: row.id for row in await session.execute(query.where(ImageManifest.digest.in_(list(digests))))}


async def _drop_stale(session: AsyncSession, executor_id: str, repository_id: str, wanted: dict[str, _Image]) -> None:
    """Moving tags of the hub's own images which no release's tag stands behind any more."""
    built = select(Build.manifest_digest).join(Release, Release.id == Build.release_id)
    built = built.where(Release.executor_id == executor_id, Build.manifest_digest.is_not(None))
    own = select(ImageManifest.id).where(ImageManifest.repository_id == repository_id, ImageManifest.digest.in_(built))
    stale = delete(TagRow).where(TagRow.repository_id == repository_id, TagRow.is_protected.is_(False))
    await session.execute(stale.where(TagRow.manifest_id.in_(own), TagRow.name.not_in(list(wanted))))


async def _set(session: AsyncSession, repository_id: str, wanted: dict[str, _Image]) -> None:
    now = utc_now()
    place = {"repository_id": repository_id, "moved_at": now}
    rows = [{**place, "name": name, **image._asdict()} for name, image in sorted(wanted.items())]
    await insert_missing(session, TagRow, rows)
    for name, image in wanted.items():
        stale = update(TagRow).where(TagRow.repository_id == repository_id, TagRow.name == name)
        stale = stale.where(TagRow.is_protected.is_(False))
        changed = or_(TagRow.manifest_id != image.manifest_id, TagRow.is_protected.is_not(image.is_protected))
        await session.execute(stale.where(changed).values(moved_at=now, **image._asdict()))
