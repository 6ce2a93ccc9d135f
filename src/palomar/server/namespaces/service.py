"""Namespaces: registered once, never given to anybody else."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.contract.errors import NameRetired, NameTaken
from palomar.contract.names import Namespace
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow


@dataclass(frozen=True, slots=True)
class NamespaceDefaults:
    """What a new namespace begins with, by the operator's settings."""

    visibility: Visibility = Visibility.PUBLIC
    ceiling: Visibility = Visibility.PUBLIC
    quota_bytes: int | None = None


async def register_namespace(
    session: AsyncSession, name: Namespace, *, owner_id: str, defaults: NamespaceDefaults
) -> NamespaceRow:
    """Raises BadName (reserved), NameTaken or NameRetired (a tombstone holds it)."""
    name.check_registrable()
    found = await find_namespace(session, name, include_retired=True)
    if found is not None:
        raise NameTaken("namespace", name) if found.retired_at is None else NameRetired("namespace", name)
    row = NamespaceRow(
        name=str(name),
        owner_id=owner_id,
        default_visibility=defaults.visibility,
        visibility_ceiling=defaults.ceiling,
        quota_bytes=defaults.quota_bytes,
    )
    session.add(row)
    await session.flush()  # its id is needed for the event
    record(session, EventKind.NAMESPACE_CREATED, account_id=owner_id, namespace_id=row.id, name=str(name))
    return row


async def find_namespace(session: AsyncSession, name: str, *, include_retired: bool = False) -> NamespaceRow | None:
    query = select(NamespaceRow).where(NamespaceRow.name == name)
    if not include_retired:
        query = query.where(NamespaceRow.retired_at.is_(None))
    row: NamespaceRow | None = await session.scalar(query)
    return row


async def legacy_namespace(session: AsyncSession) -> NamespaceRow:
    """The nameless home of old un-namespaced resources, made when it is first needed."""
    row = {
        "id": new_id(),
        "name": LEGACY_NAMESPACE,
        "default_visibility": Visibility.PUBLIC,
        "visibility_ceiling": Visibility.PUBLIC,
        "created_at": utc_now(),
    }
    await insert_missing(session, NamespaceRow, [row])
    return (await session.scalars(select(NamespaceRow).where(NamespaceRow.name == LEGACY_NAMESPACE))).one()


async def set_visibility_rules(
    session: AsyncSession, row: NamespaceRow, *, default: Visibility, ceiling: Visibility, account_id: str | None
) -> None:
    """A lowered ceiling hides at once what lives in the namespace; a raised one shows again what was public."""
    row.default_visibility = default.capped(ceiling)
    row.visibility_ceiling = ceiling
    record(
        session,
        EventKind.NAMESPACE_UPDATED,
        account_id=account_id,
        namespace_id=row.id,
        default_visibility=row.default_visibility,
        visibility_ceiling=row.visibility_ceiling,
    )
