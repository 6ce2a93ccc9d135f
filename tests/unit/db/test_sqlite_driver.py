"""The one-trip driver does what aiosqlite does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from palomar.server.db.engine import Database


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'one.sqlite'}")
    async with opened.write() as session:
        await session.execute(text("CREATE TABLE birds (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"))
    yield opened
    await opened.close()


async def names(database: Database) -> list[str]:
    async with database.read() as session:
        return list((await session.scalars(text("SELECT name FROM birds ORDER BY id"))).all())


async def insert(database: Database, *values: str) -> int:
    async with database.write() as session:
        statement = text("INSERT INTO birds (name) VALUES (:name)")
        done = await session.execute(statement, [{"name": value} for value in values])
        return done.rowcount


async def test_rows_come_in_order(database: Database):
    await insert(database, "dove", "owl", "wren")
    assert await names(database) == ["dove", "owl", "wren"]


async def test_changed_rows_are_counted(database: Database):
    assert await insert(database, "dove", "owl") == 2
    async with database.write() as session:
        assert (await session.execute(text("UPDATE birds SET name = name || '!'"))).rowcount == 2


async def test_returning_gives_rows_and_changes_all_of_them(database: Database):
    await insert(database, "dove", "owl")
    async with database.write() as session:
        found = await session.execute(text("DELETE FROM birds RETURNING name"))
        assert sorted(found.scalars()) == ["dove", "owl"]
    assert await names(database) == []


async def test_a_unit_of_work_that_fails_changes_nothing(database: Database):
    await insert(database, "dove")
    with pytest.raises(IntegrityError):
        await insert(database, "owl", "dove")
    assert await names(database) == ["dove"]


async def test_after_a_failure_the_connection_is_not_in_a_transaction(database: Database):
    with pytest.raises(IntegrityError):
        await insert(database, "owl", "owl")
    assert await insert(database, "owl") == 1
    assert await names(database) == ["owl"]


async def test_a_closed_database_leaves_no_connection_open(database: Database):
    await names(database)
    await database.close()
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
