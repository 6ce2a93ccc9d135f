"""Bringing a database to the newest schema; safe to call from every replica at once."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from palomar.server.db.engine import Database

# PostgreSQL's advisory lock that replicas starting together stand in line for; any constant serves.
_MIGRATION_LOCK = 0x70616C6F


async def migrate(database: Database) -> None:
    async with _sole_migration(database), database.engine.connect() as connection:
        await connection.run_sync(_upgrade)


@asynccontextmanager
async def _sole_migration(database: Database) -> AsyncIterator[None]:
    """On SQLite a file beside the database, because two processes may open a new folder at once.

    PostgreSQL has a lock of its own for that, see `_upgrade`.
    """
    path = database.url.database
    if not database.is_sqlite or not path or path == ":memory:":
        yield
        return
    descriptor = os.open(f"{path}.migration", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _upgrade(connection: Connection) -> None:
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
    try:
        command.upgrade(alembic_config(connection), "head")
        connection.commit()
    finally:
        if is_postgres:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
            connection.commit()


def alembic_config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
