"""The promise of a tag: a push that breaks who uses it warns, and is refused where the namespace says so."""

from __future__ import annotations

import pytest

from palomar.contract.errors import BreakingChange
from palomar.server.access.policy import Subject
from palomar.server.executors.purge import purge_deleted
from palomar.server.executors.values import ExecutorReceipt
from palomar.server.wiring import Hub
from tests.services.executor_pushes import WEEK, deleted_ago, package, push, set_namespace, state_of, tags
from tests.services.pushes import join_hub

BEFORE = package(arguments="size: int = 1", endpoint="/encode")
BROKEN = package(arguments="size: int = 1, *, depth: int", endpoint="/embed")
WIDENED = package(arguments="size: int = 1, *, depth: int = 2", endpoint="/encode")


async def promised(hub: Hub, *names: str, protected: tuple[str, ...] = (), refuses: bool = False) -> Subject:
    alice = await join_hub(hub)
    await set_namespace(hub, "alice", refuse_breaking=refuses)
    await push(hub, alice, "MyExecutor", BEFORE, tags=tags(*names, protected=protected))
    return alice


def kinds(receipt: ExecutorReceipt) -> list[str]:
    return [change.kind for change in receipt.changes]


@pytest.mark.parametrize("tag", ["v2", "2", "v2.0", "v2.1", "2.1.7"])
async def test_a_break_in_the_same_line_is_told(hub: Hub, tag: str) -> None:
    alice = await promised(hub, "v2.1")
    receipt = await push(hub, alice, "MyExecutor", BROKEN, tags=tags(tag))
    assert kinds(receipt) == ["argument-added", "endpoint-removed"]
    assert all(change.breaking for change in receipt.changes)


@pytest.mark.parametrize("tag", ["v3", "3.1", "latest", "stable", "v2-rc1"])
async def test_a_break_in_another_line_or_in_none_is_nobodys_business(hub: Hub, tag: str) -> None:
    alice = await promised(hub, "v2.1", "latest", "stable", refuses=True)
    assert (await push(hub, alice, "MyExecutor", BROKEN, tags=tags(tag))).changes == ()


async def test_what_breaks_nobody_is_not_told(hub: Hub) -> None:
    alice = await promised(hub, "v2", refuses=True)
    assert (await push(hub, alice, "MyExecutor", WIDENED, tags=tags("v2"))).changes == ()


async def test_where_the_namespace_refuses_nothing_is_stored(hub: Hub) -> None:
    alice = await promised(hub, "v2", refuses=True)
    before = await state_of(hub)
    with pytest.raises(BreakingChange) as refused:
        await push(hub, alice, "MyExecutor", BROKEN, tags=tags("v2.1", "latest"))
    assert (refused.value.name, refused.value.release) == ("alice/MyExecutor", 1)
    assert any("depth" in words for words in refused.value.changes)
    assert any("/encode" in words for words in refused.value.changes)
    assert await state_of(hub) == before


async def test_the_newest_release_of_the_line_is_what_counts(hub: Hub) -> None:
    alice = await promised(hub, "v2.1")
    await push(hub, alice, "MyExecutor", BROKEN, tags=tags("v2.2"))
    assert (await push(hub, alice, "MyExecutor", BROKEN, tags=tags("v2.3"))).changes == ()
    assert kinds(await push(hub, alice, "MyExecutor", BEFORE, tags=tags("v2.4"))) == [
        "argument-removed",
        "endpoint-removed",
    ]


async def test_before_1_0_the_minor_number_makes_the_line(hub: Hub) -> None:
    alice = await promised(hub, "v0.1")
    assert (await push(hub, alice, "MyExecutor", BROKEN, tags=tags("v0.2"))).changes == ()
    assert kinds(await push(hub, alice, "MyExecutor", BEFORE, tags=tags("v0.2.1"))) == [
        "argument-removed",
        "endpoint-removed",
    ]


async def test_a_tag_that_is_to_be_protected_promises_what_it_meant_before(hub: Hub) -> None:
    alice = await promised(hub, "stable")
    receipt = await push(hub, alice, "MyExecutor", BROKEN, tags=tags(protected=["stable"]))
    assert kinds(receipt) == ["argument-added", "endpoint-removed"]


async def test_a_protected_tag_of_the_line_promises_too(hub: Hub) -> None:
    alice = await promised(hub, protected=("v2.0",), refuses=True)
    with pytest.raises(BreakingChange):
        await push(hub, alice, "MyExecutor", BROKEN, tags=tags(protected=["v2.1"]))


async def test_a_purged_release_promises_nothing(hub: Hub) -> None:
    alice = await promised(hub, "v1", protected=("v2",), refuses=True)
    await deleted_ago(hub, alice, "alice/MyExecutor", 2 * WEEK)
    await purge_deleted(hub.database, older_than=WEEK)
    assert (await push(hub, alice, "MyExecutor", BROKEN, tags=tags("v2.1"))).changes == ()
