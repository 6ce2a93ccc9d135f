"""Namespaces: registered once, never given to anybody else, and as visible as their owner or the operator says."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from palomar.contract.actions import Visibility
from palomar.contract.errors import BadName, NameRetired, NameTaken, NotFound
from palomar.contract.names import Namespace
from palomar.server.access.policy import ANONYMOUS
from palomar.server.accounts.models import Account
from palomar.server.accounts.service import NewAccount, sign_up
from palomar.server.artifacts.find import find_readable
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow
from palomar.server.namespaces.service import (
    NamespaceDefaults,
    find_namespace,
    legacy_namespace,
    register_namespace,
    set_visibility_rules,
)
from palomar.server.wiring import Hub
from tests.services.pushes import documents, find, join_hub, push_array


async def register(database: Database, name: str, defaults: NamespaceDefaults | None = None) -> NamespaceRow:
    async with database.write() as session:
        account = Account(name=new_id())
        session.add(account)
        await session.flush()
        defaults = defaults or NamespaceDefaults()
        return await register_namespace(session, Namespace(name), owner_id=account.id, defaults=defaults)


async def test_a_new_namespace_begins_with_the_operators_defaults(database: Database) -> None:
    wanted = NamespaceDefaults(Visibility.PRIVATE, Visibility.PRIVATE, 5_000)
    await register(database, "alice", wanted)
    async with database.read() as session:
        row = await find_namespace(session, "alice")
        events = (await session.scalars(select(Event))).all()
    assert row is not None
    assert (row.default_visibility, row.visibility_ceiling, row.quota_bytes) == ("private", "private", 5_000)
    assert [(one.kind, one.namespace_id) for one in events] == [(EventKind.NAMESPACE_CREATED, row.id)]


async def test_a_name_is_given_once(database: Database) -> None:
    await register(database, "alice")
    with pytest.raises(NameTaken):
        await register(database, "alice")


async def test_a_reserved_name_is_not_given(database: Database) -> None:
    with pytest.raises(BadName, match="reserved"):
        await register(database, "admin")


async def test_a_retired_name_is_never_given_again_and_not_found(database: Database) -> None:
    await register(database, "alice")
    async with database.write() as session:
        row = await find_namespace(session, "alice")
        assert row is not None
        row.retired_at = utc_now()
    with pytest.raises(NameRetired):
        await register(database, "alice")
    async with database.read() as session:
        assert await find_namespace(session, "alice") is None
        assert await find_namespace(session, "alice", include_retired=True) is not None


async def test_of_several_who_ask_at_once_one_gets_the_name(database: Database) -> None:
    wanted = [sign_up(database, NewAccount("alice"), defaults=NamespaceDefaults()) for _ in range(5)]
    results = await asyncio.gather(*wanted, return_exceptions=True)
    assert sum(isinstance(result, Account) for result in results) == 1
    assert sum(isinstance(result, NameTaken) for result in results) == 4


async def test_the_home_of_old_arrays_is_one_and_can_be_named_by_nobody(database: Database) -> None:
    async def find_it() -> str:
        async with database.write() as session:
            return (await legacy_namespace(session)).id

    assert len(set(await asyncio.gather(*(find_it() for _ in range(4))))) == 1
    with pytest.raises(BadName):
        Namespace.parse(LEGACY_NAMESPACE)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(NamespaceRow)) == 1


async def set_rules(hub: Hub, default: Visibility, ceiling: Visibility) -> NamespaceRow:
    async with hub.database.write() as session:
        row = await find_namespace(session, "alice")
        assert row is not None
        await set_visibility_rules(session, row, default=default, ceiling=ceiling, account_id=row.owner_id)
    return row


async def test_a_lowered_ceiling_hides_at_once_and_a_raised_one_shows_what_was_public(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/public", documents(1))
    await push_array(hub, alice, "alice/private", documents(1), is_public=False)
    await set_rules(hub, Visibility.PUBLIC, Visibility.PRIVATE)
    for name in ("alice/public", "alice/private"):
        with pytest.raises(NotFound):
            await find(hub, ANONYMOUS, name)
        assert (await find(hub, alice, name)).visibility is Visibility.PRIVATE
    await set_rules(hub, Visibility.PUBLIC, Visibility.PUBLIC)
    await find(hub, ANONYMOUS, "alice/public")
    with pytest.raises(NotFound):
        await find(hub, ANONYMOUS, "alice/private")


async def test_a_default_is_never_above_the_ceiling(hub: Hub) -> None:
    await join_hub(hub)
    row = await set_rules(hub, Visibility.PUBLIC, Visibility.PRIVATE)
    assert row.default_visibility == Visibility.PRIVATE


async def test_what_lives_in_a_retired_namespace_is_absent(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(1))
    found = await find(hub, alice, "alice/digits")
    async with hub.database.write() as session:
        row = await session.get(NamespaceRow, found.namespace.id)
        assert row is not None
        row.retired_at = utc_now()

    async with hub.database.read() as session:
        for asked in ({"name": "alice/digits"}, {"artifact_id": receipt.artifact_id}):
            with pytest.raises(NotFound):
                await find_readable(session, alice, bare_means_own=False, **asked)
