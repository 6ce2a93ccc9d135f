"""People and their namespaces."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.contract.names import Namespace
from palomar.server.accounts.models import Account
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import NamespaceDefaults, register_namespace


@dataclass(frozen=True, slots=True)
class Person:
    account: Account
    namespace: NamespaceRow


async def make_person(
    session: AsyncSession,
    name: str = "alice",
    *,
    default: Visibility = Visibility.PUBLIC,
    ceiling: Visibility = Visibility.PUBLIC,
    quota_bytes: int | None = None,
) -> Person:
    """An account without a password, and the namespace of its name."""
    account = Account(name=name)
    session.add(account)
    await session.flush()
    defaults = NamespaceDefaults(default, ceiling, quota_bytes)
    return Person(account, await register_namespace(session, Namespace(name), owner_id=account.id, defaults=defaults))
