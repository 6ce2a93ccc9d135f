"""Where a push goes: the namespace that must be the caller's, and the Executor's row, which may not exist yet."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadParameter, Busy, CredentialMissing, NotFound
from palomar.contract.names import Namespace, ResourceName, ResourcePath
from palomar.packages.package import Package
from palomar.server.access.policy import Subject
from palomar.server.access.pushing import require_push
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.executors.models import Executor
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.executors.values import ExecutorPush
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace

# Without 0, 1, i, l and o: these ids are read aloud and typed.
_SHORT_ID_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


async def find_target(session: AsyncSession, subject: Subject, push: ExecutorPush, package: Package) -> FoundExecutor:
    """The Executor's row, locked until the transaction ends, so release numbers and tags never collide."""
    path, namespace = await allowed_place(session, subject, push, package)
    if not push.must_exist:
        row = executor_row(namespace, path.name, push_visibility(push, default=namespace.default_visibility))
        await insert_missing(session, Executor, [row])
    return await locked_executor(session, namespace, path, must_be_live=push.must_exist)


async def peek_target(
    session: AsyncSession, subject: Subject, push: ExecutorPush, package: Package
) -> tuple[NamespaceRow, FoundExecutor | None]:
    """The same without a lock and without making anything: for refusing early."""
    path, namespace = await allowed_place(session, subject, push, package)
    executor = await session.scalar(
        select(Executor).where(Executor.namespace_id == namespace.id, Executor.name_key == path.name.key)
    )
    if push.must_exist and (executor is None or executor.deleted_at is not None):
        raise NotFound(KIND, str(path))
    return namespace, None if executor is None else FoundExecutor(executor, namespace)


async def allowed_place(
    session: AsyncSession, subject: Subject, push: ExecutorPush, package: Package
) -> tuple[ResourcePath, NamespaceRow]:
    path = push_path(subject, push.name or package.config.name)
    namespace = await find_namespace(session, path.namespace)
    return path, require_push(subject, Action.EXECUTOR_PUSH, path, namespace)


def push_path(subject: Subject, name: str | None) -> ResourcePath:
    """Without a namespace the name means the pusher's own: jina hub push has no way to say one."""
    if subject.account_name is None:
        raise CredentialMissing
    if not name:
        raise BadParameter("name", "the package names no Executor; set metas.name in config.yml")
    if "/" in name:
        return ResourcePath.parse(name)
    return ResourcePath(Namespace.parse(subject.account_name), ResourceName.parse(name))


async def locked_executor(
    session: AsyncSession, namespace: NamespaceRow, path: ResourcePath, *, must_be_live: bool = False
) -> FoundExecutor:
    """Raises NotFound for what must be there and is not, and Busy for the one new short id in 10^11 that is taken."""
    named = select(Executor).where(Executor.namespace_id == namespace.id, Executor.name_key == path.name.key)
    executor = await session.scalar(named.with_for_update())
    if must_be_live and (executor is None or executor.deleted_at is not None):
        raise NotFound(KIND, str(path))
    if executor is None:
        raise Busy("The id that was drawn for the new Executor is taken")
    return FoundExecutor(executor, namespace)


def executor_row(
    namespace: NamespaceRow, name: ResourceName, visibility: Visibility, *, short_id: str | None = None
) -> dict[str, object]:
    """A new one, without a release."""
    now = utc_now()
    return {
        "id": new_id(),
        "short_id": short_id or new_short_id(),
        "namespace_id": namespace.id,
        "name": str(name),
        "name_key": name.key,
        "visibility": visibility,
        "description": "",
        "keywords": [],
        "url": "",
        "releases": 0,
        "created_at": now,
        "updated_at": now,
    }


def new_short_id() -> str:
    return "".join(secrets.choice(_SHORT_ID_LETTERS) for _ in range(8))


def push_visibility(push: ExecutorPush, *, default: str) -> Visibility:
    """Without a flag, a new Executor has its namespace's default and another stays as it is."""
    if push.is_public is None:
        return Visibility(default)
    return Visibility.PUBLIC if push.is_public else Visibility.PRIVATE
