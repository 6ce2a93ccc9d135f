"""The policy's reading rule as SQL: the only way in which lists, searches, catalogues and counts are filtered.

A property test holds that a row is selected exactly when `palomar.server.access.policy.decide` allows reading it.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, Select, and_, false, func, or_

from palomar.contract.actions import Scope, Visibility
from palomar.server.access.policy import Subject
from palomar.server.namespaces.models import NamespaceRow

Rows = TypeVar("Rows", bound=Select[*tuple[Any, ...]])


class ResourceTable(Protocol):
    """A table of resources that live in namespaces."""

    namespace_id: Any
    visibility: Any
    owner_id: Any
    deleted_at: Any


def visible(select: Rows, table: type[ResourceTable], subject: Subject) -> Rows:
    """Restricts ``select``, which reads ``table`` and does not join namespaces yet, to what ``subject`` may read."""
    joined = select.join(NamespaceRow, NamespaceRow.id == table.namespace_id)
    return joined.where(table.deleted_at.is_(None), NamespaceRow.retired_at.is_(None), _readable(table, subject))


def _readable(table: type[ResourceTable], subject: Subject) -> ColumnElement[bool]:
    if not subject.is_anonymous and Scope.READ not in subject.scopes:
        return false()
    is_public = and_(
        table.visibility == Visibility.PUBLIC,
        NamespaceRow.visibility_ceiling == Visibility.PUBLIC,
    )
    if subject.is_anonymous:
        return is_public
    # A namespace's owner owns what is in it; things have owners of their own only where the namespace has none.
    return or_(is_public, func.coalesce(NamespaceRow.owner_id, table.owner_id) == subject.account_id)
