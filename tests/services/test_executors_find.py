"""What a reference means, and what a stranger learns from asking: nothing."""

from __future__ import annotations

import pytest

from palomar.contract.actions import Visibility
from palomar.contract.errors import NotAllowed, NotFound
from palomar.contract.names import ResourceName
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.db.columns import utc_now
from palomar.server.executors.find import hash_secret
from palomar.server.executors.models import Executor
from palomar.server.executors.target import executor_row
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.wiring import Hub
from tests.services.executor_pushes import delete, find, package, push, set_namespace
from tests.services.pushes import join_hub


async def make_legacy(
    hub: Hub, name: str = "MyExecutor", *, is_public: bool = True, secret: str | None = None, owner: str | None = None
) -> str:
    """An old Executor without a release; its short id."""
    async with hub.database.write() as session:
        namespace = await legacy_namespace(session)
        visibility = Visibility.PUBLIC if is_public else Visibility.PRIVATE
        row = Executor(**executor_row(namespace, ResourceName(name), visibility))
        row.secret_hash = None if secret is None else hash_secret(secret)
        row.owner_id = owner
        session.add(row)
    return row.short_id


async def test_each_form_finds_the_same_executor(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    for reference in ("alice/MyExecutor", "alice/myexecutor", "MyExecutor", "MYEXECUTOR", receipt.short_id):
        assert (await find(hub, alice, reference)).executor.id == receipt.executor_id
    assert (await find(hub, ANONYMOUS, receipt.short_id)).shown_name == "alice/MyExecutor"


async def test_a_bare_name_is_nobody_elses(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "MyExecutor")
    for subject in (bob, ANONYMOUS):
        with pytest.raises(NotFound):
            await find(hub, subject, "MyExecutor")


async def test_an_old_one_wins_unless_ones_own_is_meant(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    short_id = await make_legacy(hub)
    assert (await find(hub, alice, "MyExecutor")).executor.short_id == short_id
    assert (await find(hub, alice, "MyExecutor", own_first=True)).shown_name == "alice/MyExecutor"
    assert (await find(hub, ANONYMOUS, "MyExecutor", own_first=True)).executor.short_id == short_id


async def test_an_old_one_that_is_hidden_does_not_stand_before_ones_own(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    await make_legacy(hub, is_public=False, secret="sesame")
    assert (await find(hub, alice, "MyExecutor")).shown_name == "alice/MyExecutor"
    assert (await find(hub, alice, "MyExecutor", secret="sesame")).is_legacy


async def test_a_name_that_looks_like_an_id_comes_before_the_id(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    short_id = (await push(hub, alice, "MyExecutor")).short_id
    await push(hub, bob, short_id)
    assert (await find(hub, bob, short_id)).shown_name == f"bob/{short_id}"
    assert (await find(hub, alice, short_id)).shown_name == "alice/MyExecutor"


async def test_the_secret_of_an_old_private_one_opens_it_to_anybody(hub: Hub) -> None:
    bob = await join_hub(hub, "bob")
    short_id = await make_legacy(hub, is_public=False, secret="sesame")
    for subject in (ANONYMOUS, bob):
        for reference in ("MyExecutor", short_id):
            assert (await find(hub, subject, reference, secret="sesame")).executor.short_id == short_id


@pytest.mark.parametrize("secret", [None, "", "Sesame", "sesame ", "\ud800", "a\0b", "é"])
async def test_a_wrong_secret_a_missing_one_and_an_absent_name_look_the_same(hub: Hub, secret: str | None) -> None:
    await make_legacy(hub, is_public=False, secret="sesame")
    errors = []
    for name in ("MyExecutor", "NoExecutor"):
        with pytest.raises(NotFound) as refused:
            await find(hub, ANONYMOUS, name, secret=secret)
        errors.append((refused.value.kind, refused.value.detail.replace(name, "NAME")))
    assert errors[0] == errors[1]


async def test_no_secret_opens_one_that_has_none(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor", is_public=False)
    await make_legacy(hub, "Old", is_public=False)
    for reference in ("alice/MyExecutor", receipt.short_id, "Old"):
        for secret in ("", "None", hash_secret("")):
            with pytest.raises(NotFound):
                await find(hub, ANONYMOUS, reference, secret=secret)


async def test_an_old_private_one_needs_no_secret_from_its_owner(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await make_legacy(hub, is_public=False, secret="sesame", owner=alice.account_id)
    assert (await find(hub, alice, "MyExecutor")).is_legacy
    with pytest.raises(NotFound):
        await find(hub, bob, "MyExecutor")


async def test_a_private_one_is_its_owners_alone_and_looks_absent(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    receipt = await push(hub, alice, "MyExecutor", is_public=False)
    assert (await find(hub, alice, "alice/MyExecutor")).visibility is Visibility.PRIVATE
    for subject in (bob, ANONYMOUS):
        for reference in ("alice/MyExecutor", receipt.short_id):
            with pytest.raises(NotFound) as refused:
                await find(hub, subject, reference)
            assert refused.value.name == reference


async def test_a_token_without_the_scope_is_told_so(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    weak = Subject(alice.account_id, "alice", Credential.TOKEN, frozenset(), "0" * 32)
    with pytest.raises(NotAllowed, match="lacks the scope"):
        await find(hub, weak, "alice/MyExecutor")


async def test_what_was_deleted_is_absent_to_everybody(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    await delete(hub, alice, "alice/MyExecutor")
    for subject in (alice, ANONYMOUS):
        for reference in ("alice/MyExecutor", "MyExecutor", receipt.short_id):
            with pytest.raises(NotFound):
                await find(hub, subject, reference)


async def test_with_its_namespace_an_executor_is_gone_by_every_name(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor", package())
    await set_namespace(hub, "alice", retired_at=utc_now())
    for reference in ("alice/MyExecutor", "MyExecutor", receipt.short_id):
        with pytest.raises(NotFound):
            await find(hub, alice, reference)


@pytest.mark.parametrize(
    "reference", ["", "/", "a/b/c", "alice/", "a\0b", "\ud800", "x" * 5000, "alice/x\0", "UPPER/x"]
)
async def test_a_reference_that_cannot_be_is_absent(hub: Hub, reference: str) -> None:
    alice = await join_hub(hub)
    for subject in (alice, ANONYMOUS):
        with pytest.raises(NotFound):
            await find(hub, subject, reference)
