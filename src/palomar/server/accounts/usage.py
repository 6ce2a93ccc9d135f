"""When a credential was last used: noted at most once a minute, and written behind the request's back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from palomar.server.accounts.models import LoginSession, PersonalAccessToken
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database

log = structlog.get_logger("palomar.accounts")

_PRECISION = timedelta(minutes=1)

Table = type[PersonalAccessToken] | type[LoginSession]


class UsageLog:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: dict[tuple[Table, str], datetime] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, table: Table, row_id: str, last_used_at: datetime | None) -> None:
        """Costs nothing but a comparison unless ``last_used_at``, as just read, is more than a minute old."""
        now = utc_now()
        if last_used_at is not None and now - last_used_at < _PRECISION:
            return
        self._pending.setdefault((table, row_id), now)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())

    async def flush(self) -> None:
        """Waits until what was noted is written."""
        if self._writing is not None:
            await self._writing

    async def _write_all(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, {}
            try:
                await self._write(batch)
            except SQLAlchemyError:
                # A time of last use is a courtesy: losing one must not disturb anything else.
                log.warning("last use not written", credentials=len(batch), exc_info=True)

    async def _write(self, batch: dict[tuple[Table, str], datetime]) -> None:
        async with self._database.write() as session:
            for (table, row_id), at in batch.items():
                await session.execute(update(table).where(table.id == row_id).values(last_used_at=at))
