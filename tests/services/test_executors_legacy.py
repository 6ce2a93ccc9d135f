"""Old un-namespaced Executors: imported once with their ids and secrets, pulled for ever, never changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from palomar.contract.errors import NotAllowed, NotFound
from palomar.server.access.policy import ANONYMOUS
from palomar.server.artifacts.legacy_import import LegacyFolder, Outcome
from palomar.server.events.kinds import EventKind
from palomar.server.executors.legacy_import import import_executors
from palomar.server.executors.models import Executor
from palomar.server.wiring import Hub
from tests.services.executor_pushes import (
    delete,
    find,
    kinds_of_events,
    move,
    package,
    pull,
    push,
    state_of,
    tags_by_name,
    undelete,
    update,
)
from tests.services.pushes import join_hub
from tests.unit.packages.zips import Raw, raw_zip, zipped


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "legacy"
    (path / "executors").mkdir(parents=True)
    return path


def add(folder: Path, name: str, data: bytes | None = None) -> None:
    (folder / "executors" / f"{name}.zip").write_bytes(package() if data is None else data)


def describe(folder: Path, **executors: dict[str, Any]) -> None:
    (folder / "legacy.json").write_text(json.dumps({"executors": executors}))


async def run_import(hub: Hub, folder: Path) -> dict[str, tuple[Outcome, str]]:
    results = [result async for result in import_executors(hub.executor_pusher, LegacyFolder.read(folder))]
    return {result.name: (result.outcome, result.reason) for result in results}


async def test_without_a_word_about_it_it_is_public_and_latest_and_has_an_id(hub: Hub, folder: Path) -> None:
    add(folder, "Encoder")
    assert await run_import(hub, folder) == {"Encoder": (Outcome.IMPORTED, "")}
    found = await find(hub, ANONYMOUS, "Encoder")
    assert found.is_legacy
    assert (found.shown_name, found.owner_id, found.executor.secret_hash) == ("Encoder", None, None)
    for reference in ("Encoder", "encoder", found.executor.short_id):
        assert await pull(hub, ANONYMOUS, reference, "latest") == package()
    assert await tags_by_name(hub, found.executor.id) == {"latest": (1, False)}
    assert await kinds_of_events(hub, found.executor.id) == [EventKind.EXECUTOR_IMPORTED]


async def test_the_catalogue_gives_id_secret_tags_and_owner(hub: Hub, folder: Path) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    add(folder, "Encoder")
    describe(
        folder,
        Encoder={"id": "9o3mnn0d", "secret": "séşame", "tags": ["v1", "v2"], "public": False, "owner": "alice"},
    )
    await run_import(hub, folder)
    for reference in ("Encoder", "9o3mnn0d"):
        assert await pull(hub, ANONYMOUS, reference, "v1", secret="séşame") == package()
        assert await pull(hub, alice, reference) == package()
        for subject in (bob, ANONYMOUS):
            with pytest.raises(NotFound):
                await find(hub, subject, reference, secret="sesame")
    executor = (await find(hub, alice, "Encoder")).executor
    assert await tags_by_name(hub, executor.id) == {"v1": (1, False), "v2": (1, False)}
    assert "séşame" not in (executor.secret_hash or "")


async def test_a_second_run_changes_nothing_and_does_the_rest(hub: Hub, folder: Path) -> None:
    add(folder, "First")
    describe(folder, First={"id": "9o3mnn0d", "secret": "sesame", "public": False})
    await run_import(hub, folder)
    before = await state_of(hub)
    add(folder, "First", package("Other."))
    describe(folder, First={"id": "aaaaaaaa"})
    assert await run_import(hub, folder) == {"First": (Outcome.PRESENT, "")}
    assert await state_of(hub) == before
    add(folder, "Second")
    assert await run_import(hub, folder) == {"First": (Outcome.PRESENT, ""), "Second": (Outcome.IMPORTED, "")}
    assert await pull(hub, ANONYMOUS, "9o3mnn0d", secret="sesame") == package()


DAMAGES = {
    "Empty": b"",
    "CutOff": package()[:-30],
    "NoZip": b"not a zip",
    "Hostile": raw_zip(Raw(), Raw(name=b"../../x.py")),
    "Nothing": zipped({"module.py": b"x = 1\n"}),
}


async def test_damaged_and_hostile_ones_are_reported_and_the_others_go_on(hub: Hub, folder: Path) -> None:
    before = await state_of(hub)
    for name, data in DAMAGES.items():
        add(folder, name, data)
    (folder / "executors" / "Folder.zip").mkdir()
    results = await run_import(hub, folder)
    assert results.keys() == {*DAMAGES, "Folder"}
    assert all(outcome is Outcome.FAILED and reason for outcome, reason in results.values())
    assert await state_of(hub) == before
    add(folder, "Aardvark")
    add(folder, "Zebra")
    results = await run_import(hub, folder)
    assert results["Aardvark"] == results["Zebra"] == (Outcome.IMPORTED, "")


MISTAKES = {
    "an id that is too short": ({"id": "abc"}, "eight lower-case letters"),
    "an id with a capital": ({"id": "9O3mnn0d"}, "eight lower-case letters"),
    "an id with a line's end": ({"id": "9o3mnn0d\n"}, "eight lower-case letters"),
    "an id that is taken": ({"id": "takentak"}, "is another Executor's"),
    "an empty secret": ({"secret": ""}, "it is empty"),
    "a bad tag": ({"tags": ["a b"]}, "tag"),
    "an owner who does not exist": ({"owner": "nobody"}, "There is no account 'nobody'"),
}


@pytest.mark.parametrize("case", MISTAKES)
async def test_a_mistake_in_the_catalogue_is_an_error_of_that_one_alone(hub: Hub, folder: Path, case: str) -> None:
    entry, words = MISTAKES[case]
    add(folder, "Another")
    describe(folder, Another={"id": "takentak"})
    await run_import(hub, folder)
    before = await state_of(hub)
    add(folder, "Encoder")
    describe(folder, Encoder=entry)
    results = await run_import(hub, folder)
    assert results["Another"] == (Outcome.PRESENT, "")
    assert results["Encoder"][0] is Outcome.FAILED
    assert words in results["Encoder"][1]
    assert await state_of(hub) == before


async def test_names_that_no_client_could_say_are_reported(hub: Hub, folder: Path) -> None:
    for name in ("my encoder", "a..b", "Straße"):
        add(folder, name)
    assert {outcome for outcome, _ in (await run_import(hub, folder)).values()} == {Outcome.FAILED}


async def test_another_spelling_of_a_name_does_not_pass_for_it(hub: Hub, folder: Path) -> None:
    add(folder, "Encoder", package("One."))
    await run_import(hub, folder)
    add(folder, "encoder", package("Two."))
    results = await run_import(hub, folder)
    assert results["Encoder"] == (Outcome.PRESENT, "")
    assert results["encoder"] == (Outcome.FAILED, "The Executor name 'Encoder' is taken: choose another one.")


async def test_two_imports_at_once_import_each_once(hub: Hub, folder: Path) -> None:
    names = [f"E{number}" for number in range(4)]
    for name in names:
        add(folder, name, package(name))
    describe(folder, **{name: {"id": f"aaaaaaa{number}", "secret": name} for number, name in enumerate(names)})
    both = await asyncio.gather(run_import(hub, folder), run_import(hub, folder))
    outcomes = [outcome for results in both for outcome, _ in results.values()]
    assert outcomes.count(Outcome.IMPORTED) == 4
    async with hub.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Executor)) == 4
    for name in names:
        assert await pull(hub, ANONYMOUS, name, secret=name) == package(name)


async def test_not_even_the_owner_changes_an_old_one(hub: Hub, folder: Path) -> None:
    alice = await join_hub(hub)
    add(folder, "Encoder")
    describe(folder, Encoder={"owner": "alice", "tags": ["v1"]})
    await run_import(hub, folder)
    executor_id = (await find(hub, alice, "Encoder")).executor.id
    before = await state_of(hub)
    for attempt in (
        update(hub, alice, "Encoder", is_public=False),
        move(hub, alice, "Encoder", "v2", 1),
        delete(hub, alice, "Encoder"),
    ):
        with pytest.raises(NotAllowed, match="never changed"):
            await attempt
    with pytest.raises(NotFound):
        await undelete(hub, alice, executor_id)
    assert await state_of(hub) == before


async def test_a_push_of_the_same_name_makes_ones_own_and_leaves_the_old_one(hub: Hub, folder: Path) -> None:
    alice = await join_hub(hub)
    add(folder, "Encoder", package("Old."))
    describe(folder, Encoder={"owner": "alice"})
    await run_import(hub, folder)
    assert (await push(hub, alice, "Encoder", package("New."))).release == 1
    assert await pull(hub, alice, "alice/Encoder") == package("New.")
    assert await pull(hub, alice, "Encoder") == package("Old.")


async def test_an_empty_folder_imports_nothing(hub: Hub, tmp_path: Path) -> None:
    assert await run_import(hub, tmp_path) == {}
