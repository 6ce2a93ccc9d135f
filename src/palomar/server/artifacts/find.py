"""From what a caller writes, an id or a name in one of its forms, to the artifact that they may read."""

from __future__ import annotations

import re

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import BareName, ResourcePath, parse_array_name
from palomar.server.access.policy import Subject
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.resource import KIND, Found
from palomar.server.db.columns import can_be_stored
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


async def find_readable(
    session: AsyncSession,
    subject: Subject,
    *,
    name: str | None = None,
    artifact_id: str | None = None,
    bare_means_own: bool,
) -> Found:
    """Raises NotFound for what is absent or hidden, for a name that breaks the rules too: nothing can have it."""
    asked = artifact_id or name or ""
    if artifact_id:
        found = await _by_id(session, artifact_id)
    else:
        found = await _by_name(session, subject, name or "", bare_means_own=bare_means_own)
    if found is None:
        raise NotFound(KIND, asked)
    found.require(subject, Action.ARTIFACT_READ, asked)
    return found


async def _by_id(session: AsyncSession, artifact_id: str) -> Found | None:
    if not _ID.fullmatch(artifact_id):
        return None
    return await _one(session, _select().where(Artifact.id == artifact_id))


async def _by_name(session: AsyncSession, subject: Subject, text: str, *, bare_means_own: bool) -> Found | None:
    try:
        name = parse_array_name(text)
    except BadName:
        return None
    if isinstance(name, ResourcePath):
        return await by_path(session, name)
    return await _by_bare_name(session, subject, name, bare_means_own=bare_means_own)


async def by_path(session: AsyncSession, path: ResourcePath) -> Found | None:
    """A tombstone too: whether it may be seen is the access policy's question."""
    named = _select().where(NamespaceRow.name == str(path.namespace), NamespaceRow.retired_at.is_(None))
    return await _one(session, named.where(Artifact.name_key == path.name.key))


async def legacy_by_name(session: AsyncSession, name: BareName) -> Found | None:
    if not can_be_stored(name.name):
        return None
    named = _select().where(NamespaceRow.name == LEGACY_NAMESPACE)
    return await _one(session, named.where(Artifact.name_key == name.name))


async def _by_bare_name(
    session: AsyncSession, subject: Subject, name: BareName, *, bare_means_own: bool
) -> Found | None:
    """An old un-namespaced array wins; then what the caller themselves pushed under a bare name."""
    legacy = await legacy_by_name(session, name)
    if legacy is not None and may_read(legacy, subject, str(name)):
        return legacy
    if subject.is_anonymous or not can_be_stored(name.name):
        return None
    own = _select().where(NamespaceRow.owner_id == subject.account_id, NamespaceRow.retired_at.is_(None))
    own = own.where(Artifact.name_key == name.name.lower())
    if not bare_means_own:
        own = own.where(Artifact.is_bare.is_(True))
    return await _one(session, own)


def may_read(found: Found, subject: Subject, asked_name: str) -> bool:
    try:
        found.require(subject, Action.ARTIFACT_READ, asked_name)
    except NotFound:
        return False
    return True


def _select() -> Select[Artifact, NamespaceRow]:
    return select(Artifact, NamespaceRow).join(NamespaceRow, NamespaceRow.id == Artifact.namespace_id)


async def _one(session: AsyncSession, query: Select[Artifact, NamespaceRow]) -> Found | None:
    row = (await session.execute(query)).first()
    return None if row is None else Found(row[0], row[1])
