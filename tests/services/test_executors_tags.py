"""Tags move from release to release; a protected one never does, whoever asks and however many at once."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete as sql_delete
from sqlalchemy import update as sql_update
from sqlalchemy.exc import IntegrityError

from palomar.contract.errors import NotFound, TagProtected
from palomar.server.access.policy import Subject
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.executors import release as release_module
from palomar.server.executors.models import ReleaseTag
from palomar.server.executors.values import ExecutorReceipt
from palomar.server.wiring import Hub
from tests.services.executor_pushes import (
    delete,
    kinds_of_events,
    move,
    package,
    pull,
    push,
    release_of,
    state_of,
    tags,
    tags_by_name,
    untag,
)
from tests.services.pushes import join_hub


async def released(hub: Hub, *wanted: str) -> tuple[Subject, ExecutorReceipt]:
    """Alice's MyExecutor, one release for each tag."""
    alice = await join_hub(hub)
    receipts = [await push(hub, alice, "MyExecutor", package(f"{tag}."), tags=tags(tag)) for tag in wanted]
    return alice, receipts[-1]


# --- what a push does to tags --------------------------------------------------------------------------------------


async def test_without_tags_a_push_moves_latest_and_with_tags_only_those(hub: Hub) -> None:
    alice = await join_hub(hub)
    executor_id = (await push(hub, alice, "MyExecutor", package("One."))).executor_id
    assert await tags_by_name(hub, executor_id) == {"latest": (1, False)}
    await push(hub, alice, "MyExecutor", package("Two."), tags=tags("v2", "stable"))
    assert await tags_by_name(hub, executor_id) == {"latest": (1, False), "v2": (2, False), "stable": (2, False)}
    await push(hub, alice, "MyExecutor", package("Three."), tags=tags("latest", "stable"))
    assert await tags_by_name(hub, executor_id) == {"latest": (3, False), "v2": (2, False), "stable": (3, False)}


async def test_without_a_tag_a_pull_gets_latest_or_else_the_newest(hub: Hub) -> None:
    alice, _ = await released(hub, "v1", "v2")
    assert (await release_of(hub, alice, "alice/MyExecutor")).number == 2
    await move(hub, alice, "alice/MyExecutor", "latest", 1)
    assert (await release_of(hub, alice, "alice/MyExecutor")).number == 1
    assert await pull(hub, alice, "alice/MyExecutor", "v2") == package("v2.")


async def test_a_tag_that_nothing_bears_is_absent_even_if_it_is_called_latest(hub: Hub) -> None:
    alice, _ = await released(hub, "v1")
    for tag in ("v2", "latest", "V1"):
        with pytest.raises(NotFound, match=f"alice/MyExecutor:{tag}"):
            await release_of(hub, alice, "alice/MyExecutor", tag)


async def test_one_name_given_plain_and_protected_is_protected(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor", tags=tags("v1", "v2", protected=["v2", "v3"]))
    assert receipt.tags == ("v1", "v2", "v3")
    assert await tags_by_name(hub, receipt.executor_id) == {"v1": (1, False), "v2": (1, True), "v3": (1, True)}


async def test_a_plain_tag_can_become_a_protected_one_as_it_moves(hub: Hub) -> None:
    alice, receipt = await released(hub, "v1")
    await push(hub, alice, "MyExecutor", package("Two."), tags=tags(protected=["v1"]))
    assert await tags_by_name(hub, receipt.executor_id) == {"v1": (2, True)}


# --- protection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [tags("v1"), tags(protected=["v1"]), tags("v2", "v1"), tags("v2", protected=["v1"])])
async def test_a_second_push_under_a_protected_tag_is_refused_and_nothing_is_stored(hub: Hub, wanted) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor", package("One."), tags=tags(protected=["v1"]))
    before = await state_of(hub)
    for data in (package("Two."), package("One.")):
        with pytest.raises(TagProtected) as refused:
            await push(hub, alice, "MyExecutor", data, tags=wanted)
        assert (refused.value.name, refused.value.tag) == ("alice/MyExecutor", "v1")
    assert await state_of(hub) == before
    assert await tags_by_name(hub, receipt.executor_id) == {"v1": (1, True)}


async def test_of_pushes_at_once_under_a_protected_tag_one_wins(hub: Hub) -> None:
    alice = await join_hub(hub)
    packages = [package(f"Number {number}.") for number in range(5)]
    ended = await asyncio.gather(
        *(push(hub, alice, "MyExecutor", data, tags=tags(protected=["v1"])) for data in packages),
        return_exceptions=True,
    )
    won = [receipt for receipt in ended if isinstance(receipt, ExecutorReceipt)]
    assert len(won) == 1
    assert [type(error) for error in ended if error is not won[0]] == [TagProtected] * 4
    assert await tags_by_name(hub, won[0].executor_id) == {"v1": (1, True)}
    assert await pull(hub, alice, "alice/MyExecutor", "v1") == packages[ended.index(won[0])]
    assert len((await state_of(hub)).keys) == 1


async def test_the_table_itself_keeps_a_protected_tag(hub: Hub) -> None:
    alice = await join_hub(hub)
    first = await push(hub, alice, "MyExecutor", package("One."), tags=tags(protected=["v1"]))
    second = await push(hub, alice, "MyExecutor", package("Two."))
    mine = sql_update(ReleaseTag).where(ReleaseTag.executor_id == first.executor_id, ReleaseTag.name == "v1")
    for statement in (
        mine.values(release_id=second.release_id),
        mine.values(is_protected=False),
        mine.values(name="v2"),
        sql_delete(ReleaseTag).where(ReleaseTag.name == "v1"),
    ):
        with pytest.raises(IntegrityError):
            async with hub.database.write() as session:
                await session.execute(statement)
    async with hub.database.write() as session:
        await session.execute(mine.values(moved_at=utc_now()))
    assert await tags_by_name(hub, first.executor_id) == {"v1": (1, True), "latest": (2, False)}


async def test_where_the_check_saw_nothing_the_tables_refusal_has_the_same_words(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a writer without the lock protects the tag between the check and the move."""
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor", package("One."), tags=tags(protected=["v1"]))
    before = await state_of(hub)

    async def see_nothing(*_: object, **__: object) -> None:
        return

    monkeypatch.setattr(release_module, "check_tags", see_nothing)
    with pytest.raises(TagProtected) as refused:
        await push(hub, alice, "MyExecutor", package("Two."), tags=tags("v0", "v1"))
    assert (refused.value.name, refused.value.tag) == ("alice/MyExecutor", "v1")
    assert await state_of(hub) == before


async def test_protection_outlives_deletion(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor", package("One."), tags=tags(protected=["v1"]))
    await delete(hub, alice, "alice/MyExecutor")
    with pytest.raises(TagProtected):
        await push(hub, alice, "MyExecutor", package("Two."), tags=tags("v1"))
    await push(hub, alice, "MyExecutor", package("Two."), tags=tags("v2"))
    assert await pull(hub, alice, "alice/MyExecutor", "v1") == package("One.")


# --- moving and removing tags without a push -----------------------------------------------------------------------


async def test_a_tag_can_be_moved_to_any_release_and_protected_there(hub: Hub) -> None:
    alice, receipt = await released(hub, "v1", "v2")
    await move(hub, alice, "alice/MyExecutor", "stable", 2)
    await move(hub, alice, "alice/MyExecutor", "stable", 1, is_protected=True)
    assert (await tags_by_name(hub, receipt.executor_id))["stable"] == (1, True)
    with pytest.raises(TagProtected):
        await move(hub, alice, "alice/MyExecutor", "stable", 2)
    assert (await kinds_of_events(hub, receipt.executor_id))[2:] == [EventKind.EXECUTOR_RETAGGED] * 2


@pytest.mark.parametrize("is_protected", [True, False])
async def test_moving_a_protected_tag_to_where_it_is_changes_nothing(hub: Hub, is_protected: bool) -> None:
    alice, receipt = await released(hub, "v1")
    await move(hub, alice, "alice/MyExecutor", "v1", 1, is_protected=True)
    await move(hub, alice, "alice/MyExecutor", "v1", 1, is_protected=is_protected)
    assert await tags_by_name(hub, receipt.executor_id) == {"v1": (1, True)}


async def test_a_tag_cannot_be_moved_to_a_release_that_is_not_there(hub: Hub) -> None:
    alice, receipt = await released(hub, "v1")
    with pytest.raises(NotFound):
        await move(hub, alice, "alice/MyExecutor", "v1", 2)
    assert await tags_by_name(hub, receipt.executor_id) == {"v1": (1, False)}


async def test_a_plain_tag_can_be_removed_and_a_protected_one_cannot(hub: Hub) -> None:
    alice, receipt = await released(hub, "v1", "v2")
    await untag(hub, alice, "alice/MyExecutor", "v1")
    await move(hub, alice, "alice/MyExecutor", "v2", 2, is_protected=True)
    with pytest.raises(TagProtected):
        await untag(hub, alice, "alice/MyExecutor", "v2")
    with pytest.raises(NotFound):
        await untag(hub, alice, "alice/MyExecutor", "v1")
    assert await tags_by_name(hub, receipt.executor_id) == {"v2": (2, True)}
