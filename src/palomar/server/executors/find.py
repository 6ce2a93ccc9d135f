"""From an id, a full name or an old bare name to the Executor that a caller may read."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import AsyncIterator

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import ResourceName, ResourcePath
from palomar.server.access.policy import Subject
from palomar.server.executors.models import Executor
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

SHORT_ID = re.compile(r"[0-9a-z]{8}", re.ASCII)


async def find_readable(
    session: AsyncSession,
    subject: Subject,
    reference: str,
    *,
    secret: str | None = None,
    own_first: bool = False,
) -> FoundExecutor:
    """``alice/MyExecutor``, ``MyExecutor`` (old, or one's own) or the short id; the first of them that can be read.

    ``own_first`` is for commands about what one has pushed oneself, as ``jina hub status``. The right secret opens an
    old private Executor to anybody; a wrong one is as good as none, so it looks absent.
    """
    candidates = [found async for found in _candidates(session, subject, reference, own_first=own_first)]
    for found in candidates:
        if (secret is not None and opens(found, secret)) or _may_read(found, subject, reference):
            return found
    if secret is not None and not candidates:
        # The same work as for an Executor that exists.
        hmac.compare_digest(hash_secret(secret), "")
    raise NotFound(KIND, reference)


def opens(found: FoundExecutor, secret: str) -> bool:
    """Whether this is the secret of an old, still existing Executor."""
    expected = found.executor.secret_hash or ""
    return hmac.compare_digest(hash_secret(secret), expected) and not found.is_deleted


def hash_secret(secret: str) -> str:
    """Any text has one, that which is no Unicode too: a client may send it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _may_read(found: FoundExecutor, subject: Subject, reference: str) -> bool:
    try:
        found.require(subject, Action.EXECUTOR_READ, reference)
    except NotFound:
        return False
    return True


async def _candidates(
    session: AsyncSession, subject: Subject, reference: str, *, own_first: bool
) -> AsyncIterator[FoundExecutor]:
    try:
        if "/" in reference:
            queries = [_at(ResourcePath.parse(reference))]
        else:
            queries = _bare(subject, ResourceName.parse(reference), own_first=own_first)
    except BadName:
        return
    for query in queries:
        if (found := await _one(session, query)) is not None:
            yield found


def _bare(subject: Subject, name: ResourceName, *, own_first: bool) -> list[Select[Executor, NamespaceRow]]:
    """An old un-namespaced Executor and the caller's own, of which jina hub push says no namespace; then the id."""
    queries = [_select().where(NamespaceRow.name == LEGACY_NAMESPACE, Executor.name_key == name.key)]
    if not subject.is_anonymous:
        own = _select().where(NamespaceRow.owner_id == subject.account_id, NamespaceRow.retired_at.is_(None))
        queries.insert(0 if own_first else 1, own.where(Executor.name_key == name.key))
    if SHORT_ID.fullmatch(name):
        queries.append(_select().where(Executor.short_id == str(name)))
    return queries


async def by_path(session: AsyncSession, path: ResourcePath) -> FoundExecutor | None:
    """A tombstone too: whether it may be seen is the access policy's question."""
    return await _one(session, _at(path))


async def by_row_id(session: AsyncSession, executor_id: str) -> FoundExecutor | None:
    return await _one(session, _select().where(Executor.id == executor_id))


def _at(path: ResourcePath) -> Select[Executor, NamespaceRow]:
    named = _select().where(NamespaceRow.name == str(path.namespace), NamespaceRow.retired_at.is_(None))
    return named.where(Executor.name_key == path.name.key)


def _select() -> Select[Executor, NamespaceRow]:
    return select(Executor, NamespaceRow).join(NamespaceRow, NamespaceRow.id == Executor.namespace_id)


async def _one(session: AsyncSession, query: Select[Executor, NamespaceRow]) -> FoundExecutor | None:
    row = (await session.execute(query)).first()
    return None if row is None else FoundExecutor(row[0], row[1])
