"""From an id, a full name or an old bare name to the Executor that a caller may read."""

from __future__ import annotations

import hashlib
import hmac
import re

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import ResourceName, ResourcePath
from palomar.server.access.policy import Subject
from palomar.server.executors.models import Executor
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

_SHORT_ID = re.compile(r"[0-9a-z]{8}", re.ASCII)


async def find_readable(
    session: AsyncSession, subject: Subject, reference: str, *, secret: str | None = None
) -> FoundExecutor:
    """``alice/MyExecutor``, ``MyExecutor`` (old, or one's own) or the short id.

    The right secret opens an old private Executor to anybody; a wrong one is as good as none, so it looks absent.
    """
    found = await _find(session, subject, reference)
    if found is None:
        _spend_secret(secret)
        raise NotFound(KIND, reference)
    if secret is not None and opens(found, secret):
        return found
    found.require(subject, Action.EXECUTOR_READ, reference)
    return found


def opens(found: FoundExecutor, secret: str) -> bool:
    """Whether this is the secret of an old, still existing Executor."""
    expected = found.executor.secret_hash or ""
    return hmac.compare_digest(hash_secret(secret), expected) and found.executor.deleted_at is None


def hash_secret(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _spend_secret(secret: str | None) -> None:
    """The same work as for an Executor that exists."""
    if secret is not None:
        hmac.compare_digest(hash_secret(secret), "")


async def _find(session: AsyncSession, subject: Subject, reference: str) -> FoundExecutor | None:
    try:
        if "/" in reference:
            return await by_path(session, ResourcePath.parse(reference))
        name = ResourceName.parse(reference)
    except BadName:
        return None
    return await _by_bare_name(session, subject, name) or await _by_short_id(session, reference)


async def by_path(session: AsyncSession, path: ResourcePath) -> FoundExecutor | None:
    """A tombstone too: whether it may be seen is the access policy's question."""
    named = _select().where(NamespaceRow.name == str(path.namespace), NamespaceRow.retired_at.is_(None))
    return await _one(session, named.where(Executor.name_key == path.name.key))


async def by_row_id(session: AsyncSession, executor_id: str) -> FoundExecutor | None:
    return await _one(session, _select().where(Executor.id == executor_id))


async def _by_bare_name(session: AsyncSession, subject: Subject, name: ResourceName) -> FoundExecutor | None:
    """An old un-namespaced Executor; else the caller's own (jina hub push says no namespace)."""
    legacy = _select().where(NamespaceRow.name == LEGACY_NAMESPACE, Executor.name_key == name.key)
    found = await _one(session, legacy)
    if found is not None or subject.is_anonymous:
        return found
    own = _select().where(NamespaceRow.owner_id == subject.account_id, NamespaceRow.retired_at.is_(None))
    return await _one(session, own.where(Executor.name_key == name.key))


async def _by_short_id(session: AsyncSession, text: str) -> FoundExecutor | None:
    if not _SHORT_ID.fullmatch(text):
        return None
    return await _one(session, _select().where(Executor.short_id == text))


def _select() -> Select[Executor, NamespaceRow]:
    return select(Executor, NamespaceRow).join(NamespaceRow, NamespaceRow.id == Executor.namespace_id)


async def _one(session: AsyncSession, query: Select[Executor, NamespaceRow]) -> FoundExecutor | None:
    row = (await session.execute(query)).first()
    return None if row is None else FoundExecutor(row[0], row[1])
