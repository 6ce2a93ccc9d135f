"""The lease that uploads share: there while anybody stores something, and gone soon after."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import delete, select

from palomar.contract.errors import Busy
from palomar.server.blobs.leases import BlobLease
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.registry import shared_lease
from palomar.server.registry.shared_lease import SharedLease
from palomar.server.wiring import Hub
from tests.factories.images import body_of, digest_of
from tests.services.pushes import join_hub
from tests.services.registry_pushes import REPO, state_of


async def leases(database: Database) -> set[str]:
    async with database.read() as session:
        return set((await session.scalars(select(BlobLease.id))).all())


async def test_those_who_come_together_share_one(database: Database) -> None:
    shared = SharedLease(database)
    async with shared.hold() as first, shared.hold() as second:
        assert first == second
        assert await leases(database) == {first.id}
    async with shared.hold() as third:
        assert third == first
    await shared.close()
    assert await leases(database) == set()


async def test_it_ends_when_nobody_needs_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_lease, "_IDLE_S", 0.01)
    shared = SharedLease(database)
    async with shared.hold() as held:
        await asyncio.sleep(0.05)
        assert await leases(database) == {held.id}
    for _ in range(500):
        await asyncio.sleep(0.01)
        if not await leases(database):
            break
    assert await leases(database) == set()
    async with shared.hold() as another:
        assert another != held
    await shared.close()


async def test_a_later_one_begins_anew_and_the_earlier_one_lasts(database: Database) -> None:
    shared = SharedLease(database)
    async with shared.hold() as first:
        with time_machine.travel(utc_now() + timedelta(seconds=31), tick=True):
            async with shared.hold() as second:
                assert first != second
                assert await leases(database) == {first.id, second.id}
    await shared.close()
    assert await leases(database) == set()


async def test_a_lease_that_ran_out_refuses_what_it_should_have_protected(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)

    async def body():
        async for piece in body_of(b"data"):
            yield piece
        async with hub.database.write() as session:
            await session.execute(delete(BlobLease))

    with pytest.raises(Busy):
        await hub.registry.uploads.put(alice, REPO, digest=digest_of(b"data"), body=body())
    assert await state_of(hub) == before
