"""INSERT that leaves an existing row alone, on either database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.db.base import Base

# SQLite allows 32,766 parameters in one statement; a row here has about a dozen.
_ROWS_PER_STATEMENT = 1000


async def insert_missing(session: AsyncSession, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows whose unique columns are free; the others lose silently, so read back what won."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = sqlite.insert if is_sqlite else postgresql.insert
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        batch = list(rows[start : start + _ROWS_PER_STATEMENT])
        await session.execute(insert(table).on_conflict_do_nothing(), batch)
