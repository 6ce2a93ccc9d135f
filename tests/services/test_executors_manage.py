"""Renaming, hiding, deleting, bringing back: what changes is the name and who sees it, never a release."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from palomar.contract.actions import Scope, Visibility
from palomar.contract.errors import (
    BadName,
    CredentialMissing,
    NameTaken,
    NotAllowed,
    NotFound,
    PalomarError,
)
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.events.kinds import EventKind
from palomar.server.executors.manage import downloadable_release, numbered_release
from palomar.server.wiring import Hub
from tests.services.executor_pushes import (
    WEEK,
    delete,
    deleted_ago,
    find,
    kinds_of_events,
    move,
    package,
    pull,
    push,
    state_of,
    tags,
    undelete,
    untag,
    update,
)
from tests.services.pushes import join_hub


async def test_a_renamed_one_keeps_its_id_and_its_releases(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    renamed = await update(hub, alice, "alice/MyExecutor", name="Encoder")
    assert (renamed.shown_name, renamed.executor.id) == ("alice/Encoder", receipt.executor_id)
    assert await pull(hub, alice, "alice/encoder") == package()
    with pytest.raises(NotFound):
        await find(hub, alice, "alice/MyExecutor")
    assert EventKind.EXECUTOR_RENAMED in await kinds_of_events(hub, receipt.executor_id)


async def test_the_spelling_of_a_name_can_change(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    assert (await update(hub, alice, "alice/MyExecutor", name="MYEXECUTOR")).shown_name == "alice/MYEXECUTOR"


async def test_a_name_that_is_taken_or_cannot_be_is_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("One", "Two", "Gone"):
        await push(hub, alice, name)
    await delete(hub, alice, "alice/Gone")
    before = await state_of(hub)
    for name in ("two", "Gone"):
        with pytest.raises(NameTaken):
            await update(hub, alice, "alice/One", name=name)
    for name in ("bob/One", "", "a b"):
        with pytest.raises(BadName):
            await update(hub, alice, "alice/One", name=name)
    assert await state_of(hub) == before


async def test_visibility_changes_who_may_pull(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    receipt = await push(hub, alice, "MyExecutor")
    assert (await update(hub, alice, "alice/MyExecutor", is_public=False)).visibility is Visibility.PRIVATE
    with pytest.raises(NotFound):
        await find(hub, bob, "alice/MyExecutor")
    await update(hub, alice, "alice/MyExecutor", is_public=False)
    await update(hub, alice, "alice/MyExecutor", is_public=True)
    assert await pull(hub, bob, "alice/MyExecutor") == package()
    changed = [kind for kind in await kinds_of_events(hub, receipt.executor_id) if "visibility" in kind]
    assert len(changed) == 2


ATTEMPTS = {
    "update": lambda hub, subject: update(hub, subject, "alice/MyExecutor", is_public=True),
    "retag": lambda hub, subject: move(hub, subject, "alice/MyExecutor", "v1", 1),
    "delete a tag": lambda hub, subject: untag(hub, subject, "alice/MyExecutor", "latest"),
    "delete": lambda hub, subject: delete(hub, subject, "alice/MyExecutor"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize(
    ("is_public", "stranger", "anonymous"), [(True, NotAllowed, CredentialMissing), (False, NotFound, NotFound)]
)
async def test_strangers_change_nothing(
    hub: Hub, attempt: str, is_public: bool, stranger: type[PalomarError], anonymous: type[PalomarError]
) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "MyExecutor", is_public=is_public)
    reader = Subject(alice.account_id, "alice", Credential.TOKEN, frozenset({Scope.READ}), "0" * 32)
    before = await state_of(hub)
    for subject, error in ((bob, stranger), (ANONYMOUS, anonymous), (reader, NotAllowed)):
        with pytest.raises(error):
            await ATTEMPTS[attempt](hub, subject)
    assert await state_of(hub) == before


async def test_what_was_deleted_comes_back_within_the_window(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor", tags=tags("v1", protected=["v2"]))
    await delete(hub, alice, "alice/MyExecutor")
    with pytest.raises(NotFound):
        await delete(hub, alice, "alice/MyExecutor")
    assert (await undelete(hub, alice, receipt.executor_id)).shown_name == "alice/MyExecutor"
    assert await pull(hub, alice, "alice/MyExecutor", "v2") == package()
    assert (await kinds_of_events(hub, receipt.executor_id))[1:] == [
        EventKind.EXECUTOR_DELETED,
        EventKind.EXECUTOR_UNDELETED,
    ]


async def test_nothing_comes_back_after_the_window_or_for_somebody_else(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    live = await push(hub, alice, "Live")
    await push(hub, alice, "Late")
    await push(hub, alice, "Mine")
    late = await deleted_ago(hub, alice, "alice/Late", WEEK + timedelta(minutes=1))
    mine = await deleted_ago(hub, alice, "alice/Mine", WEEK - timedelta(minutes=1))
    reader = Subject(alice.account_id, "alice", Credential.TOKEN, frozenset({Scope.READ}), "0" * 32)
    before = await state_of(hub)
    for subject, executor_id in (
        (alice, live.executor_id),
        (alice, late),
        (alice, "absent"),
        (bob, mine),
        (ANONYMOUS, mine),
    ):
        with pytest.raises(NotFound):
            await undelete(hub, subject, executor_id)
    with pytest.raises(NotAllowed):
        await undelete(hub, reader, mine)
    assert await state_of(hub) == before
    await undelete(hub, alice, mine)


async def test_of_deletions_at_once_one_wins_and_a_change_comes_before_or_not_at_all(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    ended = await asyncio.gather(
        *(delete(hub, alice, "alice/MyExecutor") for _ in range(3)),
        move(hub, alice, "alice/MyExecutor", "v1", 1),
        return_exceptions=True,
    )
    errors = [error for error in ended if isinstance(error, Exception)]
    assert all(isinstance(error, NotFound) for error in errors)
    kinds = await kinds_of_events(hub, receipt.executor_id)
    assert kinds.count(EventKind.EXECUTOR_DELETED) == 1
    assert kinds[-1] == EventKind.EXECUTOR_DELETED


async def test_a_numbered_release_is_found_and_another_number_is_not(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    found = await find(hub, alice, "alice/MyExecutor")
    async with hub.database.read() as session:
        assert (await numbered_release(session, found, 1)).id == receipt.release_id
        with pytest.raises(NotFound):
            await numbered_release(session, found, 2)


async def test_a_signed_download_ends_with_the_executor(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    async with hub.database.read() as session:
        assert (await downloadable_release(session, receipt.release_id)).number == 1
        with pytest.raises(NotFound):
            await downloadable_release(session, "absent")
    await delete(hub, alice, "alice/MyExecutor")
    async with hub.database.read() as session:
        with pytest.raises(NotFound):
            await downloadable_release(session, receipt.release_id)
