"""Lists of artifacts: filtered, sorted and counted in the database, and only ever through `visible`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, bindparam, false, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from palomar.contract.actions import Visibility
from palomar.contract.errors import BadParameter
from palomar.server.access.policy import Subject
from palomar.server.access.visible import visible
from palomar.server.artifacts.counts import count_live
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.resource import ShownArtifact
from palomar.server.db.columns import can_be_stored
from palomar.server.namespaces.models import NamespaceRow

# Fields of the wire's artifact object that a list can be filtered and sorted by.
_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "_id": Artifact.id,
    "name": Artifact.name,
    "type": Artifact.kind,
    "visibility": Artifact.visibility,
    "createdAt": Artifact.created_at,
    "updatedAt": Artifact.updated_at,
}
# What `_shown` makes a `ShownArtifact` of, in its order.
_SHOWN = (
    Artifact.id,
    Artifact.name,
    Artifact.is_bare,
    Artifact.visibility,
    Artifact.kind,
    Artifact.metadata_json,
    Artifact.version,
    Artifact.documents,
    Artifact.created_at,
    Artifact.updated_at,
)
_NAMESPACE = select(
    NamespaceRow.id, NamespaceRow.name, NamespaceRow.owner_id, NamespaceRow.visibility_ceiling, NamespaceRow.retired_at
).where(NamespaceRow.name == bindparam("name"), NamespaceRow.retired_at.is_(None))
_TIMES = frozenset({"createdAt", "updatedAt"})
_METADATA = "metaData."
_PATH_PART = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Page:
    """``sort`` maps field to 1 (ascending) or -1; ``start`` and ``size`` count rows."""

    start: int = 0
    size: int = 50
    sort: Mapping[str, int] = field(default_factory=lambda: {"createdAt": -1})


async def list_own(
    session: AsyncSession, subject: Subject, *, filters: Mapping[str, Any], page: Page
) -> tuple[list[ShownArtifact], int]:
    """The caller's artifacts on one page, and how many there are in all."""
    # The namespace is looked up first: only then can the database walk an index in the order of the page.
    connection = await session.connection()
    namespace = (await connection.execute(_NAMESPACE, {"name": subject.account_name or ""})).first()
    if namespace is None:
        return [], 0
    own = visible(select(Artifact), Artifact, subject)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    conditions = (_condition(name, wanted, is_sqlite=is_sqlite) for name, wanted in filters.items())
    own = own.where(Artifact.namespace_id == namespace.id, *conditions)
    listed = own.with_only_columns(*_SHOWN, maintain_column_froms=True).order_by(*_order(page.sort))
    rows = await connection.execute(listed.offset(page.start).limit(page.size))
    found = _shown(rows.all(), namespace.name, Visibility(namespace.visibility_ceiling))
    if len(found) < page.size and (found or page.start == 0):
        return found, page.start + len(found)
    return found, await _count(session, namespace.id, filters, own)


def _shown(rows: Iterable[Sequence[Any]], namespace: str, ceiling: Visibility) -> list[ShownArtifact]:
    """As `ShownArtifact.of` makes them of objects; what is the same for all rows is found out once."""
    effective = {stored.value: stored.capped(ceiling) for stored in Visibility}
    return [
        ShownArtifact(row_id, name if name is None or is_bare else f"{namespace}/{name}", effective[visibility], *rest)
        for row_id, name, is_bare, visibility, *rest in rows
    ]


async def _count(session: AsyncSession, namespace_id: str, filters: Mapping[str, Any], query: Select[Artifact]) -> int:
    """Kept counts where they answer, so that the first page of a million costs what the first of ten does."""
    if filters.keys() <= {"type"}:
        kind = filters.get("type", ...)
        return await count_live(session, namespace_id, kind if kind is ... or kind is None else str(kind))
    counted = query.with_only_columns(func.count(), maintain_column_froms=True).order_by(None)
    return await session.scalar(counted) or 0


def _condition(name: str, wanted: Any, *, is_sqlite: bool) -> ColumnElement[bool]:
    if not isinstance(wanted, str | int | float | bool | None):
        raise BadParameter(f"filter.{name}", "only equality with a string, number, boolean or null is supported")
    if isinstance(wanted, str) and not can_be_stored(wanted):
        return false()
    if name.startswith(_METADATA):
        return _metadata_condition(name, wanted, is_sqlite=is_sqlite)
    column = _COLUMNS.get(name)
    if column is None or name in _TIMES:
        raise BadParameter(f"filter.{name}", f"unknown field; known: {_known()}, and metaData.<field>")
    return column.is_(None) if wanted is None else column == str(wanted)


def _metadata_condition(name: str, wanted: str | float | bool | None, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Equality at a dotted path (``metaData.foo.bar``)."""
    path = name.removeprefix(_METADATA).split(".")
    if len(path) > _MAX_DEPTH or not all(map(_PATH_PART.fullmatch, path)):
        raise BadParameter(f"filter.{name}", "a path has at most 8 parts of letters, digits, '_' and '-'")
    value: Any = Artifact.metadata_json[tuple(path)]
    if wanted is None:
        return and_(Artifact.metadata_json.is_not(None), value.as_string().is_(None))
    if not is_sqlite:
        # As JSON: PostgreSQL fails when a text is cast to a number, and one array may have what another has not.
        return cast("ColumnElement[bool]", value.as_json() == literal(wanted, JSONB))
    if isinstance(wanted, bool):
        return cast("ColumnElement[bool]", value.as_boolean() == wanted)
    if isinstance(wanted, int | float):
        return cast("ColumnElement[bool]", value.as_float() == float(wanted))
    return cast("ColumnElement[bool]", value.as_string() == wanted)


def _order(sort: Mapping[str, int]) -> list[ColumnElement[Any]]:
    """The id comes last: without it pages of equal rows could overlap."""
    order: list[ColumnElement[Any]] = []
    ascending = True
    for name, direction in sort.items():
        column = Artifact.name_key if name == "name" else _COLUMNS.get(name)
        if column is None:
            raise BadParameter(f"sort.{name}", f"unknown field; known: {_known()}")
        if isinstance(direction, bool) or direction not in {1, -1}:
            raise BadParameter(f"sort.{name}", "1 sorts ascending, -1 descending")
        ascending = direction == 1
        order.append(column.asc() if ascending else column.desc())
    order.append(Artifact.id.asc() if ascending else Artifact.id.desc())
    return order


def _known() -> str:
    return ", ".join(_COLUMNS)
