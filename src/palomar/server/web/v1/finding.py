"""From the path of a request to the array and the version that the caller may see.

Whatever is hidden raises the same NotFound as what does not exist, with the words of the request.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import BareName, ResourcePath
from palomar.contract.v1 import NO_NAMESPACE
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.artifacts.find import by_path, legacy_by_name
from palomar.server.artifacts.models import Version
from palomar.server.artifacts.resource import KIND, Found
from palomar.server.artifacts.versions import numbered_version
from palomar.server.db.columns import utc_now


async def find_array(session: AsyncSession, subject: Subject, namespace: str, name: str) -> Found:
    asked = f"{namespace}/{name}"
    found = await _find(session, namespace, name)
    if found is None or not found.is_document_array:
        raise NotFound(KIND, asked)
    found.require(subject, Action.ARTIFACT_READ, asked)
    return found


async def find_changeable(session: AsyncSession, subject: Subject, namespace: str, name: str) -> Found:
    """Raises NotAllowed for what the caller may read and no more."""
    found = await find_array(session, subject, namespace, name)
    found.require(subject, Action.ARTIFACT_UPDATE, f"{namespace}/{name}")
    return found


async def find_deleted(
    session: AsyncSession, subject: Subject, namespace: str, name: str, *, window: timedelta
) -> Found:
    """What its owner can still bring back. To anybody else a deleted array is none, even if it was public."""
    asked = f"{namespace}/{name}"
    found = await _find(session, namespace, name)
    if found is None or not found.is_document_array:
        raise NotFound(KIND, asked)
    resource = Resource(KIND, asked, found.namespace.owner_id, visibility=Visibility.PRIVATE)
    require(subject, Action.ARTIFACT_UPDATE, resource)
    deleted_at = found.artifact.deleted_at
    if deleted_at is None or deleted_at < utc_now() - window:
        raise NotFound(KIND, asked)
    return found


async def find_version(
    session: AsyncSession, subject: Subject, namespace: str, name: str, number: int
) -> tuple[Found, Version]:
    asked = f"{namespace}/{name}"
    found = await find_array(session, subject, namespace, name)
    version = await numbered_version(session, found.artifact, number, asked_name=asked)
    if version.document_kind is None:
        raise NotFound("version", f"{asked}@v{number}")
    return found, version


def parse_path(namespace: str, name: str) -> ResourcePath | None:
    """None for what breaks the rules, as the path of an old un-namespaced array does."""
    try:
        return ResourcePath.parse(f"{namespace}/{name}")
    except BadName:
        return None


async def _find(session: AsyncSession, namespace: str, name: str) -> Found | None:
    if namespace == NO_NAMESPACE:
        return await legacy_by_name(session, BareName(name)) if name.isprintable() else None
    path = parse_path(namespace, name)
    return None if path is None else await by_path(session, path)
