"""aiosqlite with one trip to the connection's thread per statement.

aiosqlite goes there five times for one SELECT: to make a cursor, execute, fetch, close, and roll back a transaction
that was never begun. Each trip wakes a thread and waits for the interpreter's lock twice, which costs many times what
SQLite takes to find a row. Nothing here changes what a statement does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

import aiosqlite
from sqlalchemy.engine import URL

_CHUNK_ROWS = 64

P = ParamSpec("P")
T = TypeVar("T")


def connector(url: URL) -> Callable[[], Awaitable[aiosqlite.Connection]]:
    """What SQLAlchemy's ``async_creator`` wants; calling it opens a connection to ``url``."""
    arguments, options = url.get_dialect()().create_connect_args(url)

    def connect() -> Awaitable[aiosqlite.Connection]:
        connection = OneTripConnection(partial(sqlite3.connect, *arguments, **options), _CHUNK_ROWS)
        # As SQLAlchemy does with connections that it makes itself: a forgotten one must not keep the process alive.
        connection._thread.daemon = True  # noqa: SLF001
        return connection

    return connect


class OneTripConnection(aiosqlite.Connection):
    def cursor(self) -> OneTripCursor:  # type: ignore[override]  # for SQLAlchemy, which asks a cursor for less
        return OneTripCursor(self)

    async def run(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Calls it in the connection's own thread."""
        done: T = await self._execute(function, *arguments, **options)  # type: ignore[no-untyped-call]
        return done

    async def rollback(self) -> None:
        """No trip where no transaction was begun, as after every unit of work that only read."""
        if self.in_transaction:
            await super().rollback()


class OneTripCursor:
    """Fetches all rows with the statement, as SQLAlchemy would with its next call, and has nothing left to close."""

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, statement: str, parameters: Iterable[Any] = ()) -> Self:
        return await self._run(sqlite3.Connection.execute, statement, parameters)

    async def executemany(self, statement: str, parameters: Iterable[Iterable[Any]]) -> Self:
        return await self._run(sqlite3.Connection.executemany, statement, parameters)

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        self._rows = []

    async def _run(self, method: Callable[..., sqlite3.Cursor], statement: str, parameters: Any) -> Self:
        await self._connection.run(self._there, method, statement, parameters)
        return self

    def _there(self, method: Callable[..., sqlite3.Cursor], statement: str, parameters: Any) -> None:
        """In the connection's own thread."""
        cursor = method(self._connection._conn, statement, parameters)  # noqa: SLF001
        self.description = cursor.description
        self._rows = cursor.fetchall() if cursor.description else []
        # After the rows: of an INSERT with RETURNING it is not known before.
        self.rowcount, self.lastrowid = cursor.rowcount, cursor.lastrowid
        cursor.close()
