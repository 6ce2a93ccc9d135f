"""Two units of work that wait for each other: one is given up, whole, and says so."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from palomar.contract.errors import Busy
from palomar.server.db.engine import Database
from palomar.server.namespaces.models import NamespaceRow


async def test_of_two_that_wait_for_each_other_one_is_told_to_try_again(database: Database) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite's writers stand in line: they cannot wait for each other")
    async with database.write() as session:
        session.add_all([NamespaceRow(id="a" * 32, name="a"), NamespaceRow(id="b" * 32, name="b")])
    both_hold = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> None:
        async with database.write() as session:
            for name in (first, second):
                await session.execute(select(NamespaceRow).where(NamespaceRow.name == name).with_for_update())
                if name == first:
                    await both_hold.wait()

    results = await asyncio.gather(lock("a", "b"), lock("b", "a"), return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [Busy]
