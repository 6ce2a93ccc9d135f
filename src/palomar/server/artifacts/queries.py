"""Lists of artifacts: filtered, sorted and counted in the database, and only ever through `visible`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, false, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from palomar.contract.errors import BadParameter
from palomar.server.access.policy import Subject
from palomar.server.access.visible import visible
from palomar.server.artifacts.counts import count_live
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.resource import Found
from palomar.server.db.columns import can_be_stored
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace

# Fields of the wire's artifact object that a list can be filtered and sorted by.
_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "_id": Artifact.id,
    "name": Artifact.name,
    "type": Artifact.kind,
    "visibility": Artifact.visibility,
    "createdAt": Artifact.created_at,
    "updatedAt": Artifact.updated_at,
}
# What a list shows, under the attributes' own names.
_SHOWN = (
    Artifact.id,
    Artifact.name,
    Artifact.is_bare,
    Artifact.kind,
    Artifact.visibility,
    Artifact.metadata_json.label("metadata_json"),
    Artifact.version,
    Artifact.documents,
    Artifact.created_at,
    Artifact.updated_at,
)
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
) -> tuple[list[Found], int]:
    """The caller's artifacts on one page, and how many there are in all."""
    # The namespace is looked up first: only then can the database walk an index in the order of the page.
    namespace = await find_namespace(session, subject.account_name or "")
    if namespace is None:
        return [], 0
    own = visible(select(Artifact), Artifact, subject)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    conditions = (_condition(name, wanted, is_sqlite=is_sqlite) for name, wanted in filters.items())
    own = own.where(Artifact.namespace_id == namespace.id, *conditions)
    listed = own.with_only_columns(*_SHOWN, maintain_column_froms=True).order_by(*_order(page.sort))
    rows = await session.execute(listed.offset(page.start).limit(page.size))
    # A row has an artifact's attributes; an object of the ORM for each would cost more than all the rest of a list.
    found = [Found(cast("Artifact", row), namespace) for row in rows]
    if len(found) < page.size and (found or page.start == 0):
        return found, page.start + len(found)
    return found, await _count(session, namespace, filters, own)


async def _count(
    session: AsyncSession, namespace: NamespaceRow, filters: Mapping[str, Any], query: Select[Artifact]
) -> int:
    """Kept counts where they answer, so that the first page of a million costs what the first of ten does."""
    if filters.keys() <= {"type"}:
        kind = filters.get("type", ...)
        return await count_live(session, namespace.id, kind if kind is ... or kind is None else str(kind))
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
