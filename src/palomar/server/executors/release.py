"""The transaction that turns a staged package into a release: what it checks, and what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from sqlalchemy import Select, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import Busy
from palomar.packages.compatibility import Change
from palomar.server.blobs.staging import AdoptedBlob, BlobName, Staging
from palomar.server.db.columns import new_id, utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.facts import schema_in, storable, storable_text
from palomar.server.executors.guard import check_contract
from palomar.server.executors.models import Executor, Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.executors.tags import check_tags, move_tags
from palomar.server.executors.target import push_visibility
from palomar.server.executors.values import Draft, ExecutorReceipt
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.quota import check_quota, counts_as_used

Committed: TypeAlias = tuple[ExecutorReceipt, dict[BlobName, AdoptedBlob]]

_MAX_TEXT = 2000


async def check_release(session: AsyncSession, found: FoundExecutor, draft: Draft) -> tuple[Change, ...]:
    """What of it breaks the promise of a tag. Raises TagProtected, BreakingChange and QuotaExceeded."""
    await check_tags(session, found.executor, draft.push.tags.names, shown_name=found.shown_name)
    await check_room(session, found.namespace, draft)
    return await check_contract(session, found, draft.push.tags, schema_in(draft.facts))


async def check_room(session: AsyncSession, namespace: NamespaceRow, draft: Draft) -> None:
    """A package that the namespace has already takes no more room."""
    same = _kept(select(Release.id), namespace.id).where(Release.digest == draft.package.sha256)
    is_known = await session.scalar(same.limit(1)) is not None
    await check_quota(session, namespace, 0 if is_known else draft.package.size)


@counts_as_used
def _packages_bytes(namespace_id: str) -> Select[int]:
    """Each package once, however many releases have it."""
    packages = _kept(select(func.max(Release.package_bytes).label("size")), namespace_id).group_by(Release.digest)
    return select(func.coalesce(func.sum(packages.subquery().c.size), 0))


def _kept(query: Select[Release], namespace_id: str) -> Select[Release]:
    joined = query.join(Executor, Executor.id == Release.executor_id)
    return joined.where(Executor.namespace_id == namespace_id, Release.purged_at.is_(None))


async def add_release(
    session: AsyncSession,
    staging: Staging,
    found: FoundExecutor,
    draft: Draft,
    name: BlobName,
    *,
    pushed_by: str | None,
    kind: EventKind = EventKind.EXECUTOR_PUSHED,
) -> Committed:
    """The next release of an Executor that is locked and that the caller may write to."""
    # The blob's row before the namespace's, which the quota locks: pushes of artifacts and images take them so too.
    adopted = await _adopt(session, staging)
    changes = await check_release(session, found, draft)
    release = await _write_release(session, found.executor, draft, adopted[name].id, pushed_by)
    await move_tags(session, release, draft.push.tags, shown_name=found.shown_name)
    _update_executor(found, draft, release)
    record(
        session,
        kind,
        account_id=pushed_by,
        namespace_id=found.namespace.id,
        subject_id=found.executor.id,
        release=release.number,
        digest=release.digest,
        tags=list(draft.push.tags.names),
    )
    await session.flush()
    return _receipt(found, release, draft, changes), adopted


async def _adopt(session: AsyncSession, staging: Staging) -> dict[BlobName, AdoptedBlob]:
    with _removal_refused():
        return await staging.adopt(session)


async def _write_release(
    session: AsyncSession, executor: Executor, draft: Draft, package_id: int, pushed_by: str | None
) -> Release:
    release = _new_release(executor, draft, package_id, pushed_by)
    session.add(release)
    with _removal_refused():
        await session.flush()
    return release


@contextmanager
def _removal_refused() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise Busy("What this push counts on was removed meanwhile") from None


def _new_release(executor: Executor, draft: Draft, package_id: int, pushed_by: str | None) -> Release:
    package = draft.package
    return Release(
        id=new_id(),
        executor_id=executor.id,
        number=executor.releases + 1,
        package_id=package_id,
        package_bytes=package.size,
        md5=package.md5,
        digest=package.sha256,
        facts=draft.facts,
        build_env_names=sorted(draft.push.build_env),
        platform=draft.push.platform,
        pushed_by=pushed_by,
        created_at=utc_now(),
    )


def _update_executor(found: FoundExecutor, draft: Draft, release: Release) -> None:
    executor, config = found.executor, draft.package.config
    executor.releases = release.number
    executor.description = storable_text(config.description or "")[:_MAX_TEXT]
    executor.keywords = storable(config.keywords)
    executor.url = storable_text(config.url or "")[:_MAX_TEXT]
    executor.updated_at = release.created_at
    if executor.deleted_at is not None:
        # A revived name is as visible as a new one would be; its releases and tags are there again.
        executor.deleted_at = None
        executor.created_at = release.created_at
        executor.visibility = found.namespace.default_visibility
    executor.visibility = push_visibility(draft.push, default=executor.visibility)


def _receipt(found: FoundExecutor, release: Release, draft: Draft, changes: tuple[Change, ...]) -> ExecutorReceipt:
    return ExecutorReceipt(
        executor_id=found.executor.id,
        short_id=found.executor.short_id,
        namespace=found.namespace.name,
        name=found.executor.name,
        release_id=release.id,
        release=release.number,
        digest=release.digest,
        md5=release.md5,
        package_bytes=release.package_bytes,
        tags=draft.push.tags.names,
        visibility=found.visibility,
        durable_at=release.created_at,
        warnings=draft.package.warnings,
        changes=changes,
    )
