"""A list shows exactly what the policy allows reading: the rule in SQL and the rule in Python cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from palomar.contract.actions import Action, Scope, Visibility
from palomar.server.access.policy import ANONYMOUS, Credential, Subject, decide
from palomar.server.access.visible import visible
from palomar.server.accounts.models import Account
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.resource import Found
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.executors.models import Executor
from palomar.server.executors.resource import FoundExecutor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

PEOPLE = ("alice", "bob")
visibilities = st.sampled_from(list(Visibility))


@dataclass(frozen=True)
class Thing:
    """``owner`` is its own, which only the home of old arrays has any use for; the rule must hold anyway."""

    namespace: int
    visibility: Visibility
    owner: str | None
    is_deleted: bool


@dataclass(frozen=True)
class Place:
    owner: str | None
    ceiling: Visibility
    is_retired: bool
    is_legacy: bool


@dataclass(frozen=True)
class World:
    places: list[Place]
    things: list[Thing]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    owners = st.sampled_from([*PEOPLE, None])
    places = draw(
        st.lists(
            st.builds(Place, owners, visibilities, st.booleans(), st.just(False)),
            min_size=1,
            max_size=4,
        )
    )
    places.append(Place(None, Visibility.PUBLIC, is_retired=False, is_legacy=True))
    indices = st.integers(0, len(places) - 1)
    things = st.builds(Thing, indices, visibilities, owners, st.booleans())
    return World(places, draw(st.lists(things, min_size=1, max_size=12)))


def subjects(ids: dict[str, str]) -> list[Subject]:
    scopes = [frozenset(), frozenset({Scope.READ}), frozenset({Scope.WRITE, Scope.ACCOUNT}), frozenset(Scope)]
    known = [
        Subject(account_id, name, credential, allowed)
        for name, account_id in [*ids.items(), ("newcomer", new_id())]
        for credential in (Credential.TOKEN, Credential.CLI_SESSION, Credential.BROWSER_SESSION)
        for allowed in scopes
    ]
    return [ANONYMOUS, *known]


async def build(database: Database, world: World) -> dict[str, str]:
    """The rows of one world, instead of those of the one before; the accounts' ids by name."""
    async with database.write() as session:
        for table in (Artifact, Executor, NamespaceRow, Account):
            await session.execute(delete(table))
        accounts = {name: Account(id=new_id(), name=name) for name in PEOPLE}
        session.add_all(accounts.values())
        await session.flush()
        ids = {name: account.id for name, account in accounts.items()}
        places = [_place(place, number, ids) for number, place in enumerate(world.places)]
        session.add_all(places)
        await session.flush()
        for number, thing in enumerate(world.things):
            columns = _columns(thing, number, places, ids)
            session.add(Artifact(**columns))
            session.add(Executor(**columns, short_id=f"{number:08}", keywords=[]))
    return ids


def _place(place: Place, number: int, ids: dict[str, str]) -> NamespaceRow:
    return NamespaceRow(
        name=LEGACY_NAMESPACE if place.is_legacy else f"place-{number}",
        owner_id=ids[place.owner] if place.owner else None,
        visibility_ceiling=place.ceiling,
        retired_at=utc_now() if place.is_retired else None,
    )


def _columns(thing: Thing, number: int, places: list[NamespaceRow], ids: dict[str, str]) -> dict[str, Any]:
    """Of an array and of an Executor: for both the rule is the same."""
    return {
        "namespace_id": places[thing.namespace].id,
        "name": f"thing-{number}",
        "name_key": f"thing-{number}",
        "visibility": thing.visibility,
        "owner_id": ids[thing.owner] if thing.owner else None,
        "deleted_at": utc_now() if thing.is_deleted else None,
    }


class Kind(NamedTuple):
    table: type[Artifact | Executor]
    found: type[Found | FoundExecutor]
    action: Action


ARRAYS = Kind(Artifact, Found, Action.ARTIFACT_READ)
EXECUTORS = Kind(Executor, FoundExecutor, Action.EXECUTOR_READ)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds())
async def test_a_row_is_selected_exactly_when_the_policy_allows_reading_it(database: Database, world: World) -> None:
    ids = await build(database, world)
    async with database.read() as session:
        for kind in (ARRAYS, EXECUTORS):
            joined = select(kind.table, NamespaceRow).join(NamespaceRow, NamespaceRow.id == kind.table.namespace_id)
            everything = {row[0].id: kind.found(*row) for row in await session.execute(joined)}
            assert len(everything) == len(world.things)
            for subject in subjects(ids):
                selected = set((await session.scalars(visible(select(kind.table.id), kind.table, subject))).all())
                allowed = {
                    row_id
                    for row_id, found in everything.items()
                    if decide(subject, kind.action, found.as_resource("asked")).allowed
                }
                assert selected == allowed, (kind, subject)
