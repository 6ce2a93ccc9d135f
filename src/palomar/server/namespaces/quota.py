"""What a namespace may hold: each domain that stores bytes says how many, and their sum must stay within the quota."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import QuotaExceeded
from palomar.server.namespaces.models import NamespaceRow

# From a namespace's id to the query for what one domain keeps in it.
Usage: TypeAlias = Callable[[str], Select[int]]

_usages: list[Usage] = []


def counts_as_used(usage: Usage) -> Usage:
    """Marks a domain's query; this package lies below the domains and cannot name their tables."""
    _usages.append(usage)
    return usage


async def used_bytes(session: AsyncSession, namespace: NamespaceRow) -> int:
    return sum([int(await session.scalar(usage(namespace.id)) or 0) for usage in _usages])


async def check_quota(session: AsyncSession, namespace: NamespaceRow, new_bytes: int) -> None:
    """Raises QuotaExceeded when ``new_bytes`` more are too many."""
    quota = namespace.quota_bytes
    if quota is None:
        return
    # Pushes to other names of the namespace stand in line, or each would find the same room. Not by FOR UPDATE: the
    # rows that two first pushes have made share this one by their foreign keys, and each would wait for the other.
    this = select(NamespaceRow.id).where(NamespaceRow.id == namespace.id)
    await session.execute(this.with_for_update(key_share=True))
    if await used_bytes(session, namespace) + new_bytes > quota:
        raise QuotaExceeded(namespace.name, quota)
