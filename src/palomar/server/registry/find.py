"""From a name to the repository behind it, for callers who may do there what they want.

What the access policy says is put as the distribution specification and its clients need it:

- Anonymous callers are asked for credentials wherever they may not go, whether there is something or not. Docker logs
  in only when it is asked to.
- Who is signed in and may not read a repository is told that there is none.
- Pushing is decided on the namespace alone, so a stranger learns nothing of what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import CredentialMissing, NotFound, RepositoryUnknown
from palomar.contract.images import LEGACY_ON_THE_WIRE, RepositoryName
from palomar.server.access.policy import Resource, Subject, decide, require
from palomar.server.access.pushing import require_push
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.executors.models import Executor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow
from palomar.server.namespaces.service import find_namespace
from palomar.server.registry.models import Repository

KIND = "repository"

_ACCESS = (
    NamespaceRow.owner_id.label("namespace_owner_id"),
    NamespaceRow.visibility_ceiling,
    Repository.id.label("repository_id"),
    Repository.namespace_id,
    Repository.executor_id,
    Repository.visibility.label("own_visibility"),
    Executor.visibility.label("executor_visibility"),
    Executor.owner_id.label("executor_owner_id"),
    Executor.deleted_at.label("executor_deleted_at"),
)


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository that the caller may do with what they said they would."""

    id: str
    namespace_id: str
    executor_id: str | None
    name: RepositoryName
    resource: Resource


def select_named(*columns: Any) -> Select[*tuple[Any, ...]]:
    """What access depends on, and ``columns``, of the repository that `named` binds."""
    return (
        select(*_ACCESS, *columns)
        .select_from(Repository)
        .join(NamespaceRow, NamespaceRow.id == Repository.namespace_id)
        .outerjoin(Executor, Executor.id == Repository.executor_id)
        .where(NamespaceRow.name == bindparam("namespace"), NamespaceRow.retired_at.is_(None))
        .where(Repository.path == bindparam("path"))
    )


def named(name: RepositoryName) -> dict[str, Any]:
    """The parameters of `select_named`."""
    namespace = LEGACY_NAMESPACE if name.namespace == LEGACY_ON_THE_WIRE else str(name.namespace)
    return {"namespace": namespace, "path": name.path}


_NAMED = select_named()


async def find_repository(
    session: AsyncSession, subject: Subject, name: RepositoryName, action: Action
) -> FoundRepository:
    """Raises CredentialMissing, RepositoryUnknown or NotAllowed, as the top of this module says."""
    if action is Action.IMAGE_PUSH:
        require_push(subject, action, name, await find_namespace(session, name.namespace))
    row = (await session.execute(_NAMED, named(name))).first()
    return allowed(subject, action, name, row)


def allowed(
    subject: Subject, action: Action, name: RepositoryName, row: Row[*tuple[Any, ...]] | None
) -> FoundRepository:
    """Decides on a row of `select_named`; None is a repository that does not exist."""
    if row is None:
        raise CredentialMissing if subject.is_anonymous else RepositoryUnknown(KIND, name)
    resource = _resource(row, name)
    _require(subject, action, resource)
    return FoundRepository(row.repository_id, row.namespace_id, row.executor_id, name, resource)


def _require(subject: Subject, action: Action, resource: Resource) -> None:
    if decide(subject, action, resource).allowed:
        return
    if subject.is_anonymous:
        raise CredentialMissing
    try:
        require(subject, action, resource)
    except NotFound:
        raise RepositoryUnknown(KIND, resource.name) from None


def _resource(row: Row[*tuple[Any, ...]], name: RepositoryName) -> Resource:
    return Resource(
        kind=KIND,
        name=name,
        owner_id=row.namespace_owner_id or row.executor_owner_id,
        visibility=Visibility(row.executor_visibility or row.own_visibility),
        ceiling=Visibility(row.visibility_ceiling),
        is_deleted=row.executor_deleted_at is not None,
        is_legacy=name.namespace == LEGACY_ON_THE_WIRE,
    )


async def open_repository(session: AsyncSession, subject: Subject, name: RepositoryName) -> FoundRepository:
    """To push to: made with the namespace's default visibility when it is not there yet."""
    namespace = require_push(subject, Action.IMAGE_PUSH, name, await find_namespace(session, name.namespace))
    row = (await session.execute(_NAMED, named(name))).first()
    if row is None:
        # The foreign key shares the namespace's row and the quota locks it: two pushes that did one after the other
        # would wait for each other.
        await session.execute(select(NamespaceRow.id).where(NamespaceRow.id == namespace.id).with_for_update())
        await insert_missing(session, Repository, [repository_row(namespace, name.path)])
        row = (await session.execute(_NAMED, named(name))).first()
    return allowed(subject, Action.IMAGE_PUSH, name, row)


def repository_row(namespace: NamespaceRow, path: str, *, executor_id: str | None = None) -> dict[str, Any]:
    """A new one."""
    return {
        "id": new_id(),
        "namespace_id": namespace.id,
        "path": path,
        "executor_id": executor_id,
        "visibility": namespace.default_visibility,
        "created_at": utc_now(),
    }
