"""Engines and units of work, alike on SQLite and PostgreSQL.

``Database.read()`` and ``Database.write()`` are the only ways to a session. A write commits once, at its end, or not
at all. On SQLite writers stand in line in this process (and wait for other processes by ``busy_timeout``) and take
the write lock at their beginning, so that what a unit of work has read is still true when it commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from palomar.contract.errors import Busy, StorageFull
from palomar.server.db.sqlite_driver import connector

_BUSY_TIMEOUT_MS = 30_000
_SQLITE_CONNECTIONS = 16
# The second: the index of the write-ahead log could not grow.
_SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_POSTGRES_DISK_FULL = "53100"
_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_BUSY_TIMEOUT_MS}",
    # KiB, of each connection: sixteen full ones still fit beside everything else.
    "PRAGMA cache_size=-8192",
    "PRAGMA temp_store=MEMORY",
)


# Deadlock and serialisation failure: of two transactions one was given up, whole.
_POSTGRES_CONFLICTS = frozenset({"40P01", "40001"})


class Database:
    def __init__(self, url: str | URL, *, pool_size: int = 10) -> None:
        self.url = with_async_driver(make_url(url))
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(self.url) if self.is_sqlite else _postgres_engine(self.url, pool_size)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False, autoflush=False)
        self._writing: AbstractAsyncContextManager[Any] = asyncio.Lock() if self.is_sqlite else nullcontext()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction; everything in it happens, or nothing.

        Raises StorageFull where the database has no room, and Busy for the one of two that wait for each other.
        """
        try:
            async with self._writing, self._sessions() as session, session.begin():
                if self.is_sqlite:
                    await session.execute(text("BEGIN IMMEDIATE"))
                yield session
        except DBAPIError as error:
            if _says_full(error.orig):
                raise StorageFull from error
            if getattr(error.orig, "sqlstate", None) in _POSTGRES_CONFLICTS:
                raise Busy("Somebody else changed the same things at the same moment") from error
            raise

    async def ping(self) -> None:
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


async def in_batches(
    step: Callable[[Database, datetime, int], Awaitable[int]], database: Database, before: datetime, batch: int
) -> int:
    """Takes the step again and again, each time in a transaction of its own, until it finds nothing; the sum of it."""
    done = 0
    while count := await step(database, before, batch):
        done += count
    return done


def _says_full(error: BaseException | None) -> bool:
    if getattr(error, "sqlstate", None) == _POSTGRES_DISK_FULL:
        return True
    return getattr(error, "sqlite_errorcode", None) in _SQLITE_FULL


def with_async_driver(url: URL) -> URL:
    """Palomar's drivers: aiosqlite, and psycopg 3 for whatever PostgreSQL URL an operator writes."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(f"PALOMAR_DATABASE_URL: {backend!r} is not supported; use sqlite:///... or postgresql://...")


def _postgres_engine(url: URL, pool_size: int) -> AsyncEngine:
    return create_async_engine(url, pool_size=pool_size, max_overflow=pool_size, pool_pre_ping=True)


def _sqlite_engine(url: URL) -> AsyncEngine:
    # No overflow: a connection more than these would be opened for one unit of work and closed after it.
    engine = create_async_engine(
        url,
        async_creator=connector(url),
        pool_size=_SQLITE_CONNECTIONS,
        max_overflow=0,
        # Half the time of the standard library's; a list has a JSON text in each of its rows.
        json_deserializer=from_json,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: it would begin deferred ones, which fail when upgraded.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    return engine
