"""Pages of the Executors that a caller may see, most recently pushed first, each behind the last row before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, String, column, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.access.policy import Subject
from palomar.server.access.visible import visible
from palomar.server.db.columns import can_be_stored
from palomar.server.executors.models import Executor, Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace


class After(NamedTuple):
    """The last row of the page before."""

    updated_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class ExecutorQuery:
    """``namespace`` is exact; ``search`` is part of a name, description or keyword, whatever its case."""

    namespace: str | None = None
    search: str | None = None
    after: After | None = None
    limit: int = 50


async def list_visible(session: AsyncSession, subject: Subject, query: ExecutorQuery) -> list[FoundExecutor]:
    """One row more than ``limit`` when another page follows."""
    listed = visible(select(Executor, NamespaceRow), Executor, subject).where(*_conditions(query))
    if query.search is not None:
        if not can_be_stored(query.search):
            return []
        listed = listed.where(_matches(query.search, is_sqlite=session.get_bind().dialect.name == "sqlite"))
    if query.namespace is not None:
        namespace = await find_namespace(session, query.namespace)
        if namespace is None:
            return []
        listed = listed.where(Executor.namespace_id == namespace.id)
    newest = listed.order_by(Executor.updated_at.desc(), Executor.id.desc()).limit(query.limit + 1)
    return [FoundExecutor(executor, namespace) for executor, namespace in await session.execute(newest)]


async def list_releases(
    session: AsyncSession, found: FoundExecutor, *, before: int | None, limit: int
) -> list[Release]:
    """Numbers below ``before``, newest first; one row more than ``limit`` when another page follows."""
    query = select(Release).where(Release.executor_id == found.executor.id, Release.purged_at.is_(None))
    if before is not None:
        query = query.where(Release.number < before)
    return list(await session.scalars(query.order_by(Release.number.desc()).limit(limit + 1)))


def _conditions(query: ExecutorQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.after is not None:
        at, last_id = query.after
        # The first condition says nothing new, but an index can be entered by it.
        conditions.append(Executor.updated_at <= at)
        conditions.append(or_(Executor.updated_at < at, Executor.id < last_id))
    return conditions


def _matches(search: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Each keyword by itself: their list as text has quotes and, on SQLite, escapes of its own."""
    expand = func.json_each if is_sqlite else func.jsonb_array_elements_text
    keyword = expand(Executor.keywords).table_valued(column("value", String))
    texts = (Executor.name, Executor.description)
    named = (text.icontains(search, autoescape=True) for text in texts)
    return or_(*named, exists().where(keyword.c.value.icontains(search, autoescape=True)))
