"""From the path of a request to the Executor that the caller may see or change.

Whatever is hidden raises the same NotFound as what does not exist, with the words of the request.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import Namespace, ResourceName, ResourcePath
from palomar.contract.v1 import NO_NAMESPACE
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.db.columns import utc_now
from palomar.server.executors.find import by_path
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.namespaces.models import LEGACY_NAMESPACE


async def find_executor(session: AsyncSession, subject: Subject, namespace: str, name: str) -> FoundExecutor:
    asked = f"{namespace}/{name}"
    found = await _find(session, namespace, name)
    if found is None:
        raise NotFound(KIND, asked)
    found.require(subject, Action.EXECUTOR_READ, asked)
    return found


async def changeable(session: AsyncSession, subject: Subject, action: Action, namespace: str, name: str) -> str:
    """The reference by which the domain finds it. Raises NotAllowed for what the caller may read and no more."""
    asked = f"{namespace}/{name}"
    found = await find_executor(session, subject, namespace, name)
    found.require(subject, action, asked)
    return asked


async def find_deleted(
    session: AsyncSession, subject: Subject, namespace: str, name: str, *, window: timedelta
) -> FoundExecutor:
    """What its owner can still bring back. To anybody else a deleted Executor is none, even if it was public."""
    asked = f"{namespace}/{name}"
    found = await _find(session, namespace, name)
    if found is None:
        raise NotFound(KIND, asked)
    resource = Resource(KIND, asked, found.namespace.owner_id, visibility=Visibility.PRIVATE)
    require(subject, Action.EXECUTOR_UPDATE, resource)
    deleted_at = found.executor.deleted_at
    if deleted_at is None or deleted_at < utc_now() - window:
        raise NotFound(KIND, asked)
    return found


async def _find(session: AsyncSession, namespace: str, name: str) -> FoundExecutor | None:
    try:
        return await by_path(session, _parse_path(namespace, name))
    except BadName:
        return None


def _parse_path(namespace: str, name: str) -> ResourcePath:
    if namespace == NO_NAMESPACE:
        return ResourcePath(Namespace(LEGACY_NAMESPACE), ResourceName.parse(name))
    return ResourcePath.parse(f"{namespace}/{name}")
