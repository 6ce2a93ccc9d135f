"""Changing who sees an Executor, what its tags mean, and whether it is there; its releases never change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import NameTaken, NotFound, TagProtected
from palomar.contract.names import ResourceName, Tag
from palomar.server.access.policy import Subject
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.find import find_readable
from palomar.server.executors.models import Executor, Release, ReleaseTag
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.executors.tags import WantedTags, check_tags, move_tags, newest_release, protected_stays
from palomar.server.namespaces.models import NamespaceRow


@dataclass(frozen=True, slots=True)
class ExecutorChanges:
    """None leaves a thing as it is."""

    name: str | None = None
    is_public: bool | None = None


async def update_executor(
    session: AsyncSession, subject: Subject, reference: str, changes: ExecutorChanges
) -> FoundExecutor:
    """Raises NotFound, NotAllowed, BadName, NameTaken."""
    found = await lock_executor(session, subject, Action.EXECUTOR_UPDATE, reference)
    if changes.name is not None:
        await _rename(session, subject, found, ResourceName.parse(changes.name))
    if changes.is_public is not None:
        _set_visibility(session, subject, found, Visibility.PUBLIC if changes.is_public else Visibility.PRIVATE)
    found.executor.updated_at = utc_now()
    await session.flush()
    return found


async def delete_executor(session: AsyncSession, subject: Subject, reference: str) -> FoundExecutor:
    """The name stays taken, and its owner can bring the Executor back within the undelete window."""
    found = await lock_executor(session, subject, Action.EXECUTOR_DELETE, reference)
    found.executor.deleted_at = utc_now()
    _record(session, EventKind.EXECUTOR_DELETED, subject, found)
    return found


async def undelete_executor(
    session: AsyncSession, subject: Subject, executor_id: str, *, window: timedelta
) -> FoundExecutor:
    """Raises NotFound when there is nothing of the caller's to bring back, when it is too late, or its content gone."""
    executor = await session.get(Executor, executor_id, with_for_update=True)
    if executor is None or executor.deleted_at is None or executor.deleted_at < utc_now() - window:
        raise NotFound(KIND, executor_id)
    found = FoundExecutor(executor, await session.get_one(NamespaceRow, executor.namespace_id))
    if subject.is_anonymous or found.owner_id != subject.account_id or not await _is_whole(session, executor):
        raise NotFound(KIND, executor_id)
    deleted_at, executor.deleted_at = executor.deleted_at, None
    try:
        found.require(subject, Action.EXECUTOR_UPDATE, executor_id)
    except Exception:
        executor.deleted_at = deleted_at
        raise
    _record(session, EventKind.EXECUTOR_UNDELETED, subject, found)
    return found


async def _is_whole(session: AsyncSession, executor: Executor) -> bool:
    """Purging begins with the newest release."""
    newest = await newest_release(session, executor, with_facts=False)
    return newest is not None and newest.number == executor.releases


async def retag(
    session: AsyncSession, subject: Subject, reference: str, *, release_number: int, tag: Tag, is_protected: bool
) -> FoundExecutor:
    """Moves a tag to a release. Raises NotFound, NotAllowed, TagProtected."""
    found = await lock_executor(session, subject, Action.EXECUTOR_UPDATE, reference)
    release = await numbered_release(session, found, release_number)
    await check_tags(session, found.executor, [tag], shown_name=found.shown_name, to=release)
    wanted = WantedTags((tag,), (tag,) if is_protected else ())
    await move_tags(session, release, wanted, shown_name=found.shown_name)
    _record(session, EventKind.EXECUTOR_RETAGGED, subject, found, tag=tag, release=release.number)
    return found


async def delete_tag(session: AsyncSession, subject: Subject, reference: str, tag: Tag) -> FoundExecutor:
    """Raises NotFound, NotAllowed, TagProtected."""
    found = await lock_executor(session, subject, Action.EXECUTOR_UPDATE, reference)
    row = await session.get(ReleaseTag, (found.executor.id, str(tag)))
    if row is None:
        raise NotFound("tag", f"{found.shown_name}:{tag}")
    if row.is_protected:
        raise TagProtected(found.shown_name, tag)
    this = delete(ReleaseTag).where(ReleaseTag.executor_id == found.executor.id, ReleaseTag.name == str(tag))
    with protected_stays(found.shown_name, tag):
        await session.execute(this)
    _record(session, EventKind.EXECUTOR_RETAGGED, subject, found, tag=tag, release=None)
    return found


async def numbered_release(session: AsyncSession, found: FoundExecutor, number: int) -> Release:
    query = select(Release).where(Release.executor_id == found.executor.id, Release.number == number)
    release: Release | None = await session.scalar(query.where(Release.purged_at.is_(None)))
    if release is None:
        raise NotFound("release", f"{found.shown_name}@{number}")
    return release


async def downloadable_release(session: AsyncSession, release_id: str) -> Release:
    """Raises NotFound for what was deleted or given up since its URL was signed."""
    release = await session.get(Release, release_id)
    executor = await session.get(Executor, release.executor_id) if release else None
    if release is None or release.purged_at is not None or executor is None or executor.deleted_at is not None:
        raise NotFound("download", release_id)
    return release


async def lock_executor(session: AsyncSession, subject: Subject, action: Action, reference: str) -> FoundExecutor:
    """Decided before the lock, so that nobody waits for what is not theirs, and on what is true under it."""
    found = await find_readable(session, subject, reference)
    found.require(subject, action, reference)
    query = select(Executor).where(Executor.id == found.executor.id).with_for_update()
    locked = (await session.scalars(query.execution_options(populate_existing=True))).one()
    found = FoundExecutor(locked, found.namespace)
    found.require(subject, action, reference)
    return found


async def _rename(session: AsyncSession, subject: Subject, found: FoundExecutor, name: ResourceName) -> None:
    executor = found.executor
    if executor.name == name:
        return
    old_name, path = executor.name, f"{found.namespace.name}/{name}"
    executor.name, executor.name_key = str(name), name.key
    try:
        await session.flush()
    except IntegrityError:
        raise NameTaken(KIND, path) from None
    _record(session, EventKind.EXECUTOR_RENAMED, subject, found, old_name=old_name, new_name=executor.name)


def _set_visibility(session: AsyncSession, subject: Subject, found: FoundExecutor, visibility: Visibility) -> None:
    if found.executor.visibility == visibility:
        return
    found.executor.visibility = visibility
    _record(session, EventKind.EXECUTOR_VISIBILITY_CHANGED, subject, found, visibility=visibility)


def _record(session: AsyncSession, kind: EventKind, subject: Subject, found: FoundExecutor, **details: Any) -> None:
    record(
        session,
        kind,
        account_id=subject.account_id,
        namespace_id=found.namespace.id,
        subject_id=found.executor.id,
        **details,
    )
