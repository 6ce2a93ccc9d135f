"""Pushing Executors: a release is whole or it is not there, and it never changes."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from palomar.contract.actions import Visibility
from palomar.contract.errors import (
    BadName,
    BadPackage,
    BadParameter,
    Busy,
    CredentialMissing,
    DigestMismatch,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    TagProtected,
    TooLarge,
)
from palomar.server.access.policy import ANONYMOUS
from palomar.server.blobs.collection import Collector
from palomar.server.events.kinds import EventKind
from palomar.server.executors import target
from palomar.server.executors.facts import schema_in
from palomar.server.executors.models import Release
from palomar.server.wiring import Hub
from tests.services.executor_pushes import (
    CountedWrites,
    delete,
    find,
    kinds_of_events,
    package,
    pull,
    push,
    release_of,
    set_namespace,
    state_of,
    tags,
    tags_by_name,
    update,
)
from tests.services.pushes import documents, join_hub, push_array
from tests.unit.packages.zips import CONFIG, EXECUTOR, Raw, raw_zip, zipped


async def test_the_receipt_tells_what_is_stored_and_the_package_comes_back_byte_for_byte(hub: Hub) -> None:
    alice = await join_hub(hub)
    data = package()
    receipt = await push(hub, alice, "MyExecutor", data)
    assert (receipt.namespace, receipt.name, receipt.release) == ("alice", "MyExecutor", 1)
    assert (receipt.md5, receipt.digest) == (hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest())  # noqa: S324
    assert (receipt.package_bytes, receipt.tags) == (len(data), ("latest",))
    assert await pull(hub, ANONYMOUS, "alice/MyExecutor") == data
    assert await kinds_of_events(hub, receipt.executor_id) == [EventKind.EXECUTOR_PUSHED]


async def test_what_was_read_from_the_package_is_kept_with_the_release(hub: Hub) -> None:
    alice = await join_hub(hub)
    metas = "  description: Turns text into vectors\n  keywords: [text, straße]\n  url: https://example.org/x\n"
    data = package(metas=metas, README_md=b"# Hello", requirements_txt=b"numpy==1.26\n")
    receipt = await push(hub, alice, None, data, build_env={"TOKEN": "hidden"}, platform="linux/amd64")
    release = await release_of(hub, alice, "alice/MyExecutor")
    assert (release.id, release.build_env_names, release.platform) == (receipt.release_id, ["TOKEN"], "linux/amd64")
    assert release.facts["readme"] == "# Hello"
    assert release.facts["requirements"] == ["numpy==1.26"]
    assert [argument.name for argument in schema_in(release.facts).arguments] == ["size", "kwargs"]
    executor = (await find(hub, alice, "alice/MyExecutor")).executor
    assert (executor.description, executor.url) == ("Turns text into vectors", "https://example.org/x")
    assert executor.keywords == ["text", "straße"]


async def test_characters_that_a_database_does_not_take_are_replaced(hub: Hub) -> None:
    alice = await join_hub(hub)
    metas = '  description: "one\\0two"\n  keywords: ["a\\0b"]\n'
    data = package("NUL \\x00 and half a pair \\ud800.", endpoint="/a\\x00b", README_md=b"read\0me", metas=metas)
    await push(hub, alice, "MyExecutor", data, tags=tags("v1"))
    release = await release_of(hub, alice, "alice/MyExecutor", "v1")
    assert release.facts["docstring"] == "NUL \ufffd and half a pair \ufffd."
    assert release.facts["readme"] == "read\ufffdme"
    assert schema_in(release.facts).endpoints[0].name == "/a\ufffdb"
    executor = (await find(hub, alice, "alice/MyExecutor")).executor
    assert (executor.description, executor.keywords) == ("one\ufffdtwo", ["a\ufffdb"])
    # What is compared is what is kept: the same package breaks nobody.
    assert (await push(hub, alice, "MyExecutor", data, tags=tags("v1"))).changes == ()


async def test_a_second_push_is_a_second_release_and_leaves_the_first_as_it_was(hub: Hub) -> None:
    alice = await join_hub(hub)
    first = await push(hub, alice, "MyExecutor", package("One."), tags=tags("v1"))
    second = await push(hub, alice, "myexecutor", package("Two."), tags=tags("v2"))
    assert (second.executor_id, second.short_id, second.name) == (first.executor_id, first.short_id, "MyExecutor")
    assert (first.release, second.release) == (1, 2)
    assert first.release_id != second.release_id
    assert await pull(hub, alice, "alice/MyExecutor", "v1") == package("One.")
    assert await pull(hub, alice, "alice/MyExecutor", "v2") == package("Two.")


async def test_the_same_bytes_are_stored_once(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "MyExecutor")
    keys = (await state_of(hub)).keys
    assert (await push(hub, alice, "MyExecutor")).release == 2
    assert (await push(hub, bob, "MyExecutor")).release == 1
    assert (await state_of(hub)).keys == keys


async def test_two_people_use_the_same_name(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "MyExecutor", package("Alice's."))
    await push(hub, bob, "MyExecutor", package("Bob's."))
    assert await pull(hub, ANONYMOUS, "alice/MyExecutor") == package("Alice's.")
    assert await pull(hub, ANONYMOUS, "bob/MyExecutor") == package("Bob's.")


async def test_nobody_pushes_into_a_foreign_namespace(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "MyExecutor")
    before = await state_of(hub)
    for name in ("alice/MyExecutor", "alice/Another", "nobody/MyExecutor"):
        with pytest.raises(NotAllowed):
            await push(hub, bob, name)
    with pytest.raises(CredentialMissing):
        await push(hub, ANONYMOUS, "MyExecutor")
    assert await state_of(hub) == before


async def test_names_that_cannot_be_are_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("My Executor", "a..b", "alice/", "x" * 129):
        with pytest.raises(BadName):
            await push(hub, alice, name)
    with pytest.raises(BadParameter, match="names no Executor"):
        await push(hub, alice, None, zipped({"executor.py": EXECUTOR}))


async def test_an_update_needs_something_to_update(hub: Hub) -> None:
    alice = await join_hub(hub)
    with pytest.raises(NotFound):
        await push(hub, alice, "MyExecutor", must_exist=True)
    await push(hub, alice, "MyExecutor")
    assert (await push(hub, alice, "MyExecutor", must_exist=True)).release == 2
    await delete(hub, alice, "alice/MyExecutor")
    with pytest.raises(NotFound):
        await push(hub, alice, "MyExecutor", must_exist=True)


# --- visibility --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", list(Visibility))
async def test_without_a_flag_a_new_one_has_the_default_and_an_update_keeps(hub: Hub, default: Visibility) -> None:
    alice = await join_hub(hub, default=default)
    assert (await push(hub, alice, "Plain")).visibility is default
    for is_public, visibility in ((True, Visibility.PUBLIC), (False, Visibility.PRIVATE)):
        assert (await push(hub, alice, "Flagged", is_public=is_public)).visibility is visibility
        assert (await push(hub, alice, "Flagged")).visibility is visibility


async def test_the_ceiling_takes_effect_and_the_receipt_says_so(hub: Hub) -> None:
    alice = await join_hub(hub, ceiling=Visibility.PRIVATE)
    assert (await push(hub, alice, "MyExecutor", is_public=True)).visibility is Visibility.PRIVATE
    with pytest.raises(NotFound):
        await find(hub, ANONYMOUS, "alice/MyExecutor")


async def test_a_push_revives_a_deleted_name_as_visible_as_a_new_one(hub: Hub) -> None:
    alice = await join_hub(hub, default=Visibility.PRIVATE)
    first = await push(hub, alice, "MyExecutor", is_public=True)
    await delete(hub, alice, "alice/MyExecutor")
    second = await push(hub, alice, "MyExecutor")
    assert (second.executor_id, second.release) == (first.executor_id, 2)
    assert second.visibility is Visibility.PRIVATE
    assert await pull(hub, alice, "alice/MyExecutor") == package()


# --- refusals ------------------------------------------------------------------------------------------------------

HOSTILE = {
    "path traversal": raw_zip(Raw(), Raw(name=b"../../x.py")),
    "an absolute name": raw_zip(Raw(), Raw(name=b"/etc/passwd")),
    "a symlink": raw_zip(Raw(), Raw(name=b"link", attributes=0o120777 << 16)),
    "a duplicate": raw_zip(Raw(), Raw()),
    "names that differ in case": raw_zip(Raw(), Raw(name=b"EXECUTOR.py")),
    "a directory that disagrees": raw_zip(Raw(local={"name": b"other.py"})),
    "a bomb": zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, "zeros": bytes(20_000_000)}),
    "no archive": b"not a zip",
    "YAML with a Python tag": zipped({"config.yml": b"!!python/object/apply:os.system [ls]", "executor.py": EXECUTOR}),
    "no Executor": zipped({"module.py": b"x = 1\n"}),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_a_hostile_package_is_refused_and_nothing_is_stored(hub: Hub, case: str) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    with pytest.raises(BadPackage):
        await push(hub, alice, "MyExecutor", HOSTILE[case])
    assert await state_of(hub) == before


async def test_bytes_that_are_not_those_meant_are_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    before = await state_of(hub)
    with pytest.raises(DigestMismatch):
        await push(hub, alice, "MyExecutor", md5="0" * 32)
    assert await state_of(hub) == before
    md5 = hashlib.md5(package()).hexdigest()  # noqa: S324
    assert (await push(hub, alice, "MyExecutor", md5=md5.upper())).md5 == md5


async def test_a_package_beyond_the_limit_is_refused_while_it_arrives(hub: Hub) -> None:
    alice = await join_hub(hub)
    small = replace(hub.executor_pusher, rules=replace(hub.executor_pusher.rules, max_package_bytes=100))
    before = await state_of(hub)
    with pytest.raises(TooLarge):
        await push(replace(hub, executor_pusher=small), alice, "MyExecutor")
    assert await state_of(hub) == before


async def test_a_refused_push_writes_no_bytes_at_all(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor", tags=tags(protected=["v1"]))
    counted = CountedWrites(hub.blobs)
    watched = replace(hub, executor_pusher=replace(hub.executor_pusher, store=counted))
    for name, wanted in (("MyExecutor", tags("v1")), ("bob/MyExecutor", tags("v2"))):
        with pytest.raises((NotAllowed, TagProtected)):
            await push(watched, alice, name, package("Other."), tags=wanted)
    assert counted.writes == 0
    await push(watched, alice, "MyExecutor", package("Other."), tags=tags("v2"))
    assert counted.writes > 0


# --- quota -----------------------------------------------------------------------------------------------------------


async def test_packages_and_arrays_share_one_quota(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor", package(data_bin=b"\7" * 100))
    size = len(package(data_bin=b"\7" * 100))
    await set_namespace(hub, "alice", quota_bytes=size + 50)
    before = await state_of(hub)
    with pytest.raises(QuotaExceeded):
        await push(hub, alice, "Other", package("Other."))
    with pytest.raises(QuotaExceeded):
        await push_array(hub, alice, "alice/digits", documents(50, padding=1000))
    assert await state_of(hub) == before
    # The package that is there already takes no more room, under whatever name.
    await push(hub, alice, "Other", package(data_bin=b"\7" * 100))


async def test_arrays_leave_less_room_for_packages(hub: Hub) -> None:
    alice = await join_hub(hub)
    array = await push_array(hub, alice, "alice/digits", documents(3, padding=1000))
    await set_namespace(hub, "alice", quota_bytes=array.new_bytes + len(package()))
    await push(hub, alice, "MyExecutor")
    with pytest.raises(QuotaExceeded):
        await push(hub, alice, "Second", package("Second."))


# --- at once -----------------------------------------------------------------------------------------------------


async def test_pushes_at_once_to_one_tag_end_on_one_of_them_whole(hub: Hub) -> None:
    alice = await join_hub(hub)
    packages = [package(f"Number {number}.") for number in range(5)]
    receipts = await asyncio.gather(*(push(hub, alice, "MyExecutor", data, tags=tags("v1")) for data in packages))
    assert sorted(receipt.release for receipt in receipts) == [1, 2, 3, 4, 5]
    assert len({receipt.executor_id for receipt in receipts}) == 1
    last = max(receipts, key=lambda receipt: receipt.release)
    assert await tags_by_name(hub, last.executor_id) == {"v1": (5, False)}
    assert await pull(hub, alice, "alice/MyExecutor", "v1") == packages[receipts.index(last)]
    async with hub.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Release)) == 5


async def test_pushes_of_the_same_bytes_at_once_all_succeed(hub: Hub) -> None:
    people = [await join_hub(hub, name) for name in ("alice", "bob", "carol")]
    await asyncio.gather(*(push(hub, person, "MyExecutor") for person in people))
    for person in people:
        assert await pull(hub, ANONYMOUS, f"{person.account_name}/MyExecutor") == package()
    assert len((await state_of(hub)).keys) == 1


async def test_collection_never_takes_the_package_of_a_release(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor", package("One."))
    await push(hub, alice, "MyExecutor", package("Two."))
    await delete(hub, alice, "alice/MyExecutor")
    before = await state_of(hub)
    await Collector(hub.database, hub.blobs, grace=timedelta(0)).run()
    assert await state_of(hub) == before
    await push(hub, alice, "MyExecutor", package("Three."), tags=tags("v3"))
    assert await pull(hub, alice, "alice/MyExecutor") == package("Two.")


async def test_a_drawn_id_that_is_taken_is_an_error_that_says_to_try_again(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await join_hub(hub)
    taken = (await push(hub, alice, "MyExecutor")).short_id
    before = await state_of(hub)
    monkeypatch.setattr(target, "new_short_id", lambda: taken)
    with pytest.raises(Busy):
        await push(hub, alice, "Second", package("Second."))
    assert await state_of(hub) == before


async def test_a_hidden_executor_stays_hidden_when_it_is_pushed_again(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    await update(hub, alice, "alice/MyExecutor", is_public=False)
    assert (await push(hub, alice, "MyExecutor", package("Two."))).visibility is Visibility.PRIVATE
