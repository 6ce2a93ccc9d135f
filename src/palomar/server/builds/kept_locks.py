"""Locks that are used again while what was asked for is the same."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import delete, update

from palomar.server.builds.lock import Lock
from palomar.server.builds.models import ResolvedLock
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing

UNUSED_FOR: Final = timedelta(days=30)
_NOTE_EVERY: Final = timedelta(hours=1)


async def find_lock(database: Database, key: str) -> Lock | None:
    async with database.read() as session:
        row = await session.get(ResolvedLock, key)
    if row is None:
        return None
    if row.used_at < utc_now() - _NOTE_EVERY:
        async with database.write() as session:
            await session.execute(update(ResolvedLock).where(ResolvedLock.key == key).values(used_at=utc_now()))
    return Lock.from_json(row.text)


async def keep_lock(database: Database, key: str, lock: Lock) -> None:
    """In place of what was there: a build without the cache resolves anew, for everybody after it too."""
    now = utc_now()
    row = {"key": key, "text": lock.to_json(), "created_at": now, "used_at": now}
    async with database.write() as session:
        await session.execute(delete(ResolvedLock).where(ResolvedLock.key == key))
        await insert_missing(session, ResolvedLock, [row])


async def prune_locks(database: Database, *, unused_for: timedelta = UNUSED_FOR) -> int:
    async with database.write() as session:
        gone = delete(ResolvedLock).where(ResolvedLock.used_at < utc_now() - unused_for)
        return len((await session.execute(gone.returning(ResolvedLock.key))).all())
