"""Which workers live, told by locks that end with their process: no heartbeat, no clock.

A job engine that finds a job "running" cannot know whether its worker still runs or died. Every worker therefore holds
a lock for as long as it lives: a file lock beside an SQLite database, an advisory lock of a session on PostgreSQL. Who
can take a worker's lock knows that it is dead, and while holding it is the only one who hands its jobs on.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import psycopg

# The first half of our advisory locks' key; the second half is the worker. Any constant serves.
_LOCK_SPACE: Final = 0x706A6F62


def new_worker_id() -> str:
    """31 random bits in decimal digits, which is what PostgreSQL takes as the second half of a key."""
    return str(secrets.randbelow(2**31))


class Liveness(Protocol):
    """The lock of this worker, and a look at those of others."""

    async def claim(self, worker_id: str) -> None:
        """Take the worker's own lock, or make sure that it is still held."""

    def bury(self, worker_id: str) -> AbstractAsyncContextManager[bool]:
        """Whether the worker is dead; if so, nobody else can say so while the context lasts."""

    async def close(self) -> None:
        """Give the lock back: this worker is as good as dead."""


def liveness_of(database_url: str, folder: Path) -> Liveness:
    """``folder`` is where the locks of workers on an SQLite database lie."""
    return FileLiveness(folder) if database_url.startswith("sqlite") else PostgresLiveness(database_url)


class FileLiveness:
    """A locked file for every worker on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own: int | None = None
        self._own_path: Path | None = None

    async def claim(self, worker_id: str) -> None:
        if self._own is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._own_path = self._path(worker_id)
            self._own = os.open(self._own_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @asynccontextmanager
    async def bury(self, worker_id: str) -> AsyncIterator[bool]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(worker_id)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            is_dead = _lock(descriptor)
            yield is_dead
            if is_dead:
                path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

    async def close(self) -> None:
        if self._own is not None and self._own_path is not None:
            self._own_path.unlink(missing_ok=True)
            os.close(self._own)
            self._own = None

    def _path(self, worker_id: str) -> Path:
        # int(): an id comes from the database and becomes a path.
        return self._folder / f"{int(worker_id)}.lock"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class PostgresLiveness:
    """An advisory lock for every worker, held by a connection that does nothing else."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None

    async def claim(self, worker_id: str) -> None:
        """After a lost connection the lock was free for a moment, and jobs may run twice: they must bear that."""
        if self._connection is not None and await _answers(self._connection):
            return
        self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
        await self._connection.execute("SELECT pg_advisory_lock(%s, %s)", (_LOCK_SPACE, int(worker_id)))

    @asynccontextmanager
    async def bury(self, worker_id: str) -> AsyncIterator[bool]:
        # A connection of its own: a session may take its own lock any number of times.
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            key = (_LOCK_SPACE, int(worker_id))
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
            row = await cursor.fetchone()
            yield row is not None and bool(row[0])

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _answers(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> bool:
    try:
        await connection.execute("SELECT 1")
    except psycopg.OperationalError:
        await connection.close()
        return False
    return True
