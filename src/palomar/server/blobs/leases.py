"""Leases: how collection knows that somebody is at work with blobs that no row references yet.

Whoever stages blobs holds a lease. Collection takes nothing that was stored or touched after the oldest live lease
began, whatever the grace period, so a push may take as long as it takes. A lease that is not renewed (its process
died) runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Index, Update, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped

from palomar.contract.errors import Busy
from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Moment, new_id, utc_now
from palomar.server.db.engine import Database

log = structlog.get_logger("palomar.blobs")

_LIFE = timedelta(minutes=5)
_RENEWAL_S = 60.0
# Clocks of replicas, and of an object store, may differ by this much.
_CLOCK_SKEW = timedelta(minutes=2)


class BlobLease(Base):
    __tablename__ = "blob_leases"
    __table_args__ = (Index("ix_blob_leases_expires_at", "expires_at"),)

    id: Mapped[Id]
    started_at: Mapped[Created]
    expires_at: Mapped[Moment]


@dataclass(frozen=True, slots=True)
class Lease:
    """What was stored or touched since ``started_at`` is safe until the lease ends."""

    id: str
    started_at: datetime


@asynccontextmanager
async def hold_lease(database: Database) -> AsyncIterator[Lease]:
    """A lease that is renewed as long as this process lives."""
    lease_id, started_at = new_id(), utc_now()
    async with database.write() as session:
        session.add(BlobLease(id=lease_id, started_at=started_at, expires_at=started_at + _LIFE))
    renewal = asyncio.create_task(_renew(database, lease_id))
    try:
        yield Lease(lease_id, started_at)
    finally:
        renewal.cancel()
        with suppress(asyncio.CancelledError):
            await renewal
        await asyncio.shield(_end(database, lease_id))


async def _renew(database: Database, lease_id: str) -> None:
    while True:
        await asyncio.sleep(_RENEWAL_S)
        try:
            async with database.write() as session:
                await session.execute(_renewal(lease_id))
        except Exception:
            # The next renewal may succeed; the commit asks whether the lease still lives.
            log.warning("lease not renewed", lease_id=lease_id, exc_info=True)


def _renewal(lease_id: str) -> Update:
    """One that has run out stays so: meanwhile collection may have taken what it was to protect."""
    now = utc_now()
    return update(BlobLease).where(BlobLease.id == lease_id, BlobLease.expires_at > now).values(expires_at=now + _LIFE)


async def check_lease(session: AsyncSession, lease: Lease) -> None:
    """Raises Busy when the lease ran out, as when the process was suspended; holds it until the transaction ends."""
    alive = select(BlobLease.id).where(BlobLease.id == lease.id, BlobLease.expires_at > utc_now())
    # Shared: commits under one lease do not wait for each other.
    if await session.scalar(alive.with_for_update(read=True)) is None:
        raise Busy("The hub was suspended during this push")


async def _end(database: Database, lease_id: str) -> None:
    async with database.write() as session:
        await session.execute(delete(BlobLease).where(BlobLease.id == lease_id))


async def collectable_before(session: AsyncSession, *, grace: timedelta) -> datetime:
    """What was stored or touched before this moment, and is referenced by nothing, may be collected."""
    now = utc_now()
    oldest = await session.scalar(select(func.min(BlobLease.started_at)).where(BlobLease.expires_at > now))
    by_grace = now - grace
    return by_grace if oldest is None else min(by_grace, oldest - _CLOCK_SKEW)
