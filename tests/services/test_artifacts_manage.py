"""Renaming, hiding, deleting, bringing back: what changes is the name and who sees it, never a version."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from palomar.contract.actions import Visibility
from palomar.contract.errors import (
    BadName,
    BadParameter,
    BareNameRefused,
    CredentialMissing,
    NameTaken,
    NotAllowed,
    NotFound,
    PalomarError,
)
from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.artifacts.manage import Changes, delete_artifact, undelete_artifact, update_artifact
from palomar.server.artifacts.resource import Found
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.wiring import Hub
from tests.services.pushes import documents, find, join_hub, pull_array, push_array, push_file, state_of, version_of

WEEK = timedelta(days=7)


async def update(hub: Hub, subject: Subject, artifact_id: str, **changes: object) -> Found:
    async with hub.database.write() as session:
        return await update_artifact(session, subject, artifact_id, Changes(**changes), hub.artifact_rules)


async def delete(hub: Hub, subject: Subject, name: str) -> Found:
    async with hub.database.write() as session:
        return await delete_artifact(session, subject, hub.artifact_rules, name=name)


async def undelete(hub: Hub, subject: Subject, artifact_id: str, *, window: timedelta = WEEK) -> Found:
    async with hub.database.write() as session:
        return await undelete_artifact(session, subject, artifact_id, window=window)


async def kinds_of_events(hub: Hub, artifact_id: str) -> list[str]:
    async with hub.database.read() as session:
        query = select(Event.kind).where(Event.subject_id == artifact_id).order_by(Event.id)
        return list((await session.scalars(query)).all())


async def test_a_renamed_array_keeps_its_id_and_its_versions(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(3))
    renamed = await update(hub, alice, receipt.artifact_id, name="alice/Numbers")
    assert renamed.shown_name == "alice/Numbers"
    assert await pull_array(hub, alice, "alice/numbers", 1) == documents(3)
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/digits")
    assert await kinds_of_events(hub, receipt.artifact_id) == [EventKind.ARTIFACT_PUSHED, EventKind.ARTIFACT_RENAMED]


RENAMES: dict[str, tuple[str, type[PalomarError]]] = {
    "taken": ("alice/second", NameTaken),
    "taken in another case": ("alice/SECOND", NameTaken),
    "taken by a tombstone": ("alice/deleted", NameTaken),
    "bare": ("numbers", BareNameRefused),
    "bad": ("alice/..", BadName),
    "somebody else's": ("bob/digits", BadParameter),
}


@pytest.mark.parametrize("case", RENAMES)
async def test_a_rename_that_cannot_be_changes_nothing(hub: Hub, case: str) -> None:
    alice = await join_hub(hub)
    await join_hub(hub, "bob")
    receipt = await push_array(hub, alice, "alice/digits", documents(1))
    await push_array(hub, alice, "alice/second", documents(2))
    await push_array(hub, alice, "alice/deleted", documents(3))
    await delete(hub, alice, "alice/deleted")
    before = await state_of(hub)
    name, error = RENAMES[case]
    with pytest.raises(error):
        await update(hub, alice, receipt.artifact_id, name=name)
    assert await state_of(hub) == before
    assert (await find(hub, alice, "alice/digits")).artifact.id == receipt.artifact_id


async def test_a_hidden_array_is_absent_for_others_and_there_for_its_owner(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    receipt = await push_array(hub, alice, "alice/digits", documents(1))
    await find(hub, bob, "alice/digits")
    hidden = await update(hub, alice, receipt.artifact_id, is_public=False)
    assert hidden.visibility is Visibility.PRIVATE
    for stranger in (bob, ANONYMOUS):
        with pytest.raises(NotFound) as private:
            await find(hub, stranger, "alice/digits")
        with pytest.raises(NotFound) as absent:
            await find(hub, stranger, "alice/absent")
        assert private.value.fields == {**absent.value.fields, "name": "alice/digits"}
    assert (await find(hub, alice, "alice/digits")).artifact.id == receipt.artifact_id
    assert (await kinds_of_events(hub, receipt.artifact_id))[-1] == EventKind.ARTIFACT_VISIBILITY_CHANGED


async def test_metadata_is_replaced_and_what_is_not_said_stays(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(1), is_public=False, metadata={"a": 1})
    changed = await update(hub, alice, receipt.artifact_id, metadata={"b": {"c": [2]}})
    assert changed.artifact.metadata_json == {"b": {"c": [2]}}
    assert (changed.visibility, changed.shown_name) == (Visibility.PRIVATE, "alice/digits")
    # The version keeps what it was pushed with.
    assert (await version_of(hub, alice, "alice/digits")).metadata_json == {"a": 1}


@pytest.mark.parametrize(("is_public", "error"), [(True, NotAllowed), (False, NotFound)])
async def test_a_stranger_changes_nothing(hub: Hub, is_public: bool, error: type[PalomarError]) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    receipt = await push_array(hub, alice, "alice/digits", documents(1), is_public=is_public)
    before = await state_of(hub)
    with pytest.raises(error):
        await update(hub, bob, receipt.artifact_id, name="bob/digits")
    with pytest.raises(error):
        await delete(hub, bob, "alice/digits")
    with pytest.raises(error):
        await push_array(hub, bob, None, documents(2), artifact_id=receipt.artifact_id)
    with pytest.raises(CredentialMissing if is_public else NotFound):
        await delete(hub, ANONYMOUS, "alice/digits")
    assert await state_of(hub) == before


async def test_a_deleted_array_is_absent_even_for_its_owner_and_can_be_brought_back(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(3))
    await delete(hub, alice, "alice/digits")
    for again in (find(hub, alice, "alice/digits"), delete(hub, alice, "alice/digits")):
        with pytest.raises(NotFound):
            await again
    await undelete(hub, alice, receipt.artifact_id)
    assert await pull_array(hub, alice, "alice/digits") == documents(3)
    assert (await kinds_of_events(hub, receipt.artifact_id))[1:] == [
        EventKind.ARTIFACT_DELETED,
        EventKind.ARTIFACT_UNDELETED,
    ]


async def test_what_is_there_or_was_deleted_too_long_ago_cannot_be_brought_back(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_array(hub, alice, "alice/digits", documents(3))
    with pytest.raises(NotFound):
        await undelete(hub, alice, receipt.artifact_id)
    await delete(hub, alice, "alice/digits")
    with pytest.raises(NotFound):
        await undelete(hub, alice, receipt.artifact_id, window=timedelta(0))
    with pytest.raises(NotFound):
        await undelete(hub, alice, "0" * 32)


@pytest.mark.parametrize(("is_public", "error"), [(True, NotAllowed), (False, NotFound)])
async def test_a_stranger_brings_nothing_back(hub: Hub, is_public: bool, error: type[PalomarError]) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    receipt = await push_array(hub, alice, "alice/digits", documents(3), is_public=is_public)
    await delete(hub, alice, "alice/digits")
    with pytest.raises(error):
        await undelete(hub, bob, receipt.artifact_id)
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/digits")


async def test_a_push_revives_a_deleted_name_and_goes_on_counting(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    first = await push_array(hub, alice, "alice/digits", documents(3), is_public=False)
    await delete(hub, alice, "alice/digits")
    second = await push_array(hub, alice, "alice/digits", documents(4))
    assert (second.version, second.artifact_id) == (2, first.artifact_id)
    # It begins as a new one would: with the namespace's default, not with what the deleted one had.
    assert second.visibility is Visibility.PUBLIC
    assert await pull_array(hub, bob, "alice/digits") == documents(4)


async def test_a_revived_name_may_hold_something_else(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_array(hub, alice, "alice/thing", documents(3))
    await delete(hub, alice, "alice/thing")
    receipt = await push_file(hub, alice, "thing", b"a file")
    assert (receipt.version, receipt.visibility) == (2, Visibility.PRIVATE)


async def test_a_refused_push_does_not_revive(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push_array(hub, alice, "alice/digits", documents(3))
    await delete(hub, alice, "alice/digits")
    with pytest.raises(NotAllowed):
        await push_array(hub, bob, "alice/digits", documents(3))
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/digits")
