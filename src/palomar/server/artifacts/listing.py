"""Pages of what a caller may see, newest first, in time that does not grow with what lies before the page.

A page begins behind the last row of the one before it (a keyset), so rows that come and go move nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from palomar.server.access.policy import Subject
from palomar.server.access.visible import visible
from palomar.server.accounts.models import Account
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact, Version
from palomar.server.artifacts.resource import Found
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace


class After(NamedTuple):
    """The last row of the page before."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class ArrayQuery:
    """``namespace`` and ``document_kind`` are exact, ``search`` is part of a name, whatever its case."""

    namespace: str | None = None
    document_kind: str | None = None
    search: str | None = None
    after: After | None = None
    limit: int = 50


class ListedArray(NamedTuple):
    """An array and its newest version; metadata, which may be large, is not loaded."""

    found: Found
    version: Version | None


class ListedVersion(NamedTuple):
    version: Version
    pushed_by: str | None


async def list_visible(session: AsyncSession, subject: Subject, query: ArrayQuery) -> list[ListedArray]:
    """One row more than ``limit`` when another page follows."""
    listed = visible(select(Artifact, NamespaceRow, Version), Artifact, subject)
    listed = listed.outerjoin(
        Version, and_(Version.artifact_id == Artifact.id, Version.number == Artifact.version, _is_kept())
    )
    listed = listed.where(Artifact.kind == DOCUMENT_ARRAY, *_conditions(query))
    if query.namespace is not None:
        # Looked up first: only then can the database walk an index in the order of the page.
        namespace = await find_namespace(session, query.namespace)
        if namespace is None:
            return []
        listed = listed.where(Artifact.namespace_id == namespace.id)
    rows = await session.execute(_newest_first(listed).limit(query.limit + 1))
    return [ListedArray(Found(artifact, namespace), version) for artifact, namespace, version in rows]


def _newest_first(
    listed: Select[Artifact, NamespaceRow, Version],
) -> Select[Artifact, NamespaceRow, Version]:
    light = listed.options(defer(Artifact.metadata_json), defer(Version.metadata_json))
    return light.order_by(Artifact.created_at.desc(), Artifact.id.desc())


def _conditions(query: ArrayQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query.document_kind is not None:
        conditions.append(Version.document_kind == query.document_kind)
    if query.search is not None:
        conditions.append(Artifact.name.icontains(query.search, autoescape=True))
    if query.after is not None:
        at, last_id = query.after
        # The first condition says nothing new, but an index can be entered by it.
        conditions.append(Artifact.created_at <= at)
        conditions.append(or_(Artifact.created_at < at, Artifact.id < last_id))
    return conditions


async def list_version_page(
    session: AsyncSession, artifact: Artifact, *, before: int | None, limit: int
) -> list[ListedVersion]:
    """Numbers below ``before``; one row more than ``limit`` when another page follows."""
    query = _with_pusher().where(Version.artifact_id == artifact.id).options(defer(Version.metadata_json))
    if before is not None:
        query = query.where(Version.number < before)
    rows = await session.execute(query.order_by(Version.number.desc()).limit(limit + 1))
    return [ListedVersion(version, name) for version, name in rows]


async def list_version(session: AsyncSession, version_id: str) -> ListedVersion:
    version, name = (await session.execute(_with_pusher().where(Version.id == version_id))).one()
    return ListedVersion(version, name)


async def find_committed(session: AsyncSession, version_id: str) -> tuple[Found, ListedVersion]:
    """A version for who has just pushed it, whose credential may be one that cannot read."""
    listed = await list_version(session, version_id)
    artifact = await session.get_one(Artifact, listed.version.artifact_id)
    return Found(artifact, await session.get_one(NamespaceRow, artifact.namespace_id)), listed


def _with_pusher() -> Select[Version, str]:
    joined = select(Version, Account.name).outerjoin(Account, Account.id == Version.pushed_by)
    return joined.where(_is_kept(), Version.document_kind.is_not(None))


def _is_kept() -> ColumnElement[bool]:
    return Version.purged_at.is_(None)
