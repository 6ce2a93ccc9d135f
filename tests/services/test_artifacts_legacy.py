"""Old un-namespaced arrays: imported once, pulled for ever, never changed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from palomar.contract.actions import Visibility
from palomar.contract.errors import BadParameter, LegacyFrozen, NotAllowed, NotFound
from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.artifacts.legacy_import import ArrayEntry, ExecutorEntry, LegacyFolder, Outcome, import_arrays
from palomar.server.artifacts.manage import Changes, delete_artifact, update_artifact
from palomar.server.artifacts.models import Artifact
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.wiring import Hub
from tests.fixtures.live_hub import LiveHub
from tests.services.pushes import documents, find, join_hub, pull_array, pull_stream, push_array, state_of
from tests.unit.documents.streams import document, stream


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "legacy"
    (path / "arrays").mkdir(parents=True)
    return path


def add(folder: Path, name: str, data: bytes) -> None:
    (folder / "arrays" / f"{name}.da").write_bytes(data)


def describe(folder: Path, **arrays: dict[str, Any]) -> None:
    (folder / "legacy.json").write_text(json.dumps({"arrays": arrays}))


async def run_import(hub: Hub, folder: Path) -> dict[str, tuple[Outcome, str]]:
    results = [result async for result in import_arrays(hub.pusher, LegacyFolder.read(folder))]
    return {result.name: (result.outcome, result.reason) for result in results}


async def test_an_array_is_pulled_by_its_old_name_as_the_bytes_it_was(hub: Hub, folder: Path) -> None:
    add(folder, "fashion mnist é.v1", stream(documents(30, padding=2000)))
    assert await run_import(hub, folder) == {"fashion mnist é.v1": (Outcome.IMPORTED, "")}
    bob = await join_hub(hub, "bob")
    for anybody in (ANONYMOUS, bob):
        assert await pull_stream(hub, anybody, "fashion mnist é.v1") == stream(documents(30, padding=2000))
    async with hub.database.read() as session:
        events = (await session.scalars(select(Event).where(Event.kind == EventKind.ARTIFACT_IMPORTED))).all()
    assert len(events) == 1


async def test_a_second_run_leaves_alone_what_is_there_and_does_the_rest(hub: Hub, folder: Path) -> None:
    add(folder, "first", stream(documents(3)))
    await run_import(hub, folder)
    add(folder, "first", stream(documents(9)))
    add(folder, "second", stream(documents(4)))
    assert await run_import(hub, folder) == {"first": (Outcome.PRESENT, ""), "second": (Outcome.IMPORTED, "")}
    assert await pull_array(hub, ANONYMOUS, "first") == documents(3)


async def test_a_second_run_changes_nothing_at_all(hub: Hub, folder: Path) -> None:
    add(folder, "first", stream(documents(3)))
    await run_import(hub, folder)
    before = await state_of(hub)
    await run_import(hub, folder)
    assert await state_of(hub) == before


DAMAGES = {
    "empty": b"",
    "cut off": stream(documents(5))[:-1],
    "padded": stream(documents(5)) + b"\0",
    "miscounted": stream(documents(5), count=6),
    "no array": b"PK\3\4" + bytes(100),
}


async def test_damaged_files_are_reported_with_the_reason_and_the_others_go_on(hub: Hub, folder: Path) -> None:
    for name, data in DAMAGES.items():
        add(folder, name, data)
    add(folder, "zebra", stream(documents(2)))
    add(folder, "aardvark", stream(documents(2)))
    results = await run_import(hub, folder)
    failed = {name: reason for name, (outcome, reason) in results.items() if outcome is Outcome.FAILED}
    assert failed.keys() == DAMAGES.keys()
    assert all(failed.values())
    assert "promises 6 documents, 5 arrived" in failed["miscounted"]
    assert results["zebra"] == results["aardvark"] == (Outcome.IMPORTED, "")
    async with hub.database.read() as session:
        assert await session.scalar(select(func.count()).select_from(Artifact)) == 2


async def test_a_repaired_file_is_imported_by_the_next_run(hub: Hub, folder: Path) -> None:
    add(folder, "digits", stream(documents(5))[:-1])
    await run_import(hub, folder)
    add(folder, "digits", stream(documents(5)))
    assert await run_import(hub, folder) == {"digits": (Outcome.IMPORTED, "")}
    assert await pull_array(hub, ANONYMOUS, "digits") == documents(5)


async def test_a_damaged_file_leaves_no_bytes(hub: Hub, folder: Path) -> None:
    add(folder, "digits", stream([*documents(100, padding=100_000), document(1, padding=9_000_000)])[:-1])
    before = await state_of(hub)
    await run_import(hub, folder)
    assert await state_of(hub) == before


async def test_names_that_no_client_could_pull_and_folders_are_reported(hub: Hub, folder: Path) -> None:
    add(folder, "50%", stream(documents(1)))
    (folder / "arrays" / "inner.da").mkdir()
    results = await run_import(hub, folder)
    assert results["50%"][0] is Outcome.FAILED
    assert "no client could pull it" in results["50%"][1]
    assert results["inner"][0] is Outcome.FAILED


async def test_a_private_one_is_its_owners_alone(hub: Hub, folder: Path) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    for name in ("secret", "shared", "nobodys"):
        add(folder, name, stream(documents(3)))
    describe(
        folder, secret={"public": False, "owner": "alice"}, shared={"owner": "alice"}, nobodys={"public": False}
    )  # fmt: skip
    await run_import(hub, folder)
    assert await pull_array(hub, alice, "secret") == documents(3)
    assert (await find(hub, alice, "secret")).visibility is Visibility.PRIVATE
    assert await pull_array(hub, bob, "shared") == documents(3)
    for stranger, name in ((bob, "secret"), (ANONYMOUS, "secret"), (alice, "nobodys"), (bob, "nobodys")):
        with pytest.raises(NotFound):
            await find(hub, stranger, name)


async def test_an_owner_who_does_not_exist_is_an_error_of_that_array_alone(hub: Hub, folder: Path) -> None:
    add(folder, "digits", stream(documents(3)))
    add(folder, "other", stream(documents(3)))
    describe(folder, digits={"owner": "nobody"})
    results = await run_import(hub, folder)
    assert results["digits"] == (Outcome.FAILED, "There is no account 'nobody', or you may not see it.")
    assert results["other"] == (Outcome.IMPORTED, "")


BAD_CATALOGUES = {
    "not JSON": "{",
    "a list": "[]",
    "a misspelt field": '{"arrays": {"digits": {"pubic": false}}}',
    "a text for a boolean": '{"arrays": {"digits": {"public": "false"}}}',
    "an unknown part": '{"array": {}}',
    "a number for an owner": '{"arrays": {"digits": {"owner": 5}}}',
    "an executor's tag": '{"executors": {"Encoder": {"tags": "latest"}}}',
}


@pytest.mark.parametrize("case", BAD_CATALOGUES)
def test_a_catalogue_that_is_not_understood_stops_everything(folder: Path, case: str) -> None:
    (folder / "legacy.json").write_text(BAD_CATALOGUES[case])
    with pytest.raises(BadParameter, match=r"legacy\.json"):
        LegacyFolder.read(folder)


def test_a_folder_is_read_as_documented(folder: Path) -> None:
    add(folder, "digits", b"")
    (folder / "executors").mkdir()
    for path in ("executors/Encoder.zip", "executors/notes.txt", "arrays/digits.da.bak"):
        (folder / path).write_bytes(b"")
    catalogue = {
        "arrays": {"digits": {"public": False, "owner": "alice"}, "missing": {}},
        "executors": {"Encoder": {"id": "abc", "secret": "s", "tags": ["v1"], "public": False, "owner": None}},
    }
    (folder / "legacy.json").write_text(json.dumps(catalogue))
    found = LegacyFolder.read(folder)
    assert [path.name for path in found.arrays] == ["digits.da"]
    assert [path.name for path in found.executors] == ["Encoder.zip"]
    assert [path.name for path in found.ignored] == ["digits.da.bak", "notes.txt"]
    assert found.absent == ["missing"]
    assert found.catalogue.arrays["digits"] == ArrayEntry(public=False, owner="alice")
    assert found.catalogue.executors["Encoder"] == ExecutorEntry(id="abc", secret="s", tags=["v1"], public=False)
    assert found.catalogue.executors["Encoder"].tags != ExecutorEntry().tags == ["latest"]


async def test_an_empty_folder_imports_nothing(hub: Hub, tmp_path: Path) -> None:
    assert await run_import(hub, tmp_path) == {}


async def test_two_imports_at_once_import_each_array_once(hub: Hub, folder: Path) -> None:
    for number in range(4):
        add(folder, f"array-{number}", stream(documents(20, first=100 * number, padding=20_000)))
    both = await asyncio.gather(run_import(hub, folder), run_import(hub, folder))
    outcomes = [outcome for results in both for outcome, _ in results.values()]
    assert sorted(outcomes) == [Outcome.PRESENT] * 4 + [Outcome.IMPORTED] * 4
    for number in range(4):
        assert await pull_array(hub, ANONYMOUS, f"array-{number}") == documents(20, first=100 * number, padding=20_000)


async def imported(hub: Hub, folder: Path, **entry: Any) -> Subject:
    alice = await join_hub(hub)
    add(folder, "digits", stream(documents(3)))
    describe(folder, digits=entry)
    await run_import(hub, folder)
    return alice


async def test_a_push_to_an_old_name_is_refused_and_told_the_new_scheme(hub: Hub, folder: Path) -> None:
    alice = await imported(hub, folder, owner="alice")
    before = await state_of(hub)
    with pytest.raises(LegacyFrozen) as refused:
        await push_array(hub, alice, "digits", documents(9))
    assert "'alice/digits'" in refused.value.detail
    assert await state_of(hub) == before
    # Under a namespace the name is free.
    assert (await push_array(hub, alice, "alice/digits", documents(9))).version == 1
    assert await pull_array(hub, alice, "digits") == documents(3)


async def test_not_even_the_owner_changes_or_deletes_an_old_array(hub: Hub, folder: Path) -> None:
    alice = await imported(hub, folder, owner="alice")
    artifact_id = (await find(hub, alice, "digits")).artifact.id
    before = await state_of(hub)
    async with hub.database.write() as session:
        with pytest.raises(NotAllowed, match="never changed"):
            await delete_artifact(session, alice, hub.artifact_rules, name="digits")
        with pytest.raises(NotAllowed, match="never changed"):
            await update_artifact(session, alice, artifact_id, Changes(is_public=False), hub.artifact_rules)
    with pytest.raises(NotAllowed, match="never changed"):
        await push_array(hub, alice, None, documents(9), artifact_id=artifact_id)
    assert await state_of(hub) == before


async def test_a_hidden_old_name_is_like_one_that_does_not_exist(hub: Hub, folder: Path) -> None:
    """A stranger's bare push gets the advice that any bare push gets."""
    await imported(hub, folder, public=False, owner="alice")
    bob = await join_hub(hub, "bob")
    words = []
    for name in ("digits", "absent"):
        with pytest.raises(ValueError, match="names no namespace") as refused:
            await push_array(hub, bob, name, documents(1))
        words.append(str(refused.value).replace(name, "NAME"))
    assert words[0] == words[1]


async def test_an_old_array_wins_over_the_own_namespace(hub: Hub, folder: Path) -> None:
    rules = hub.artifact_rules
    hub.pusher.rules = type(rules)(True, rules.max_push_bytes, rules.max_metadata_bytes, rules.ingest_limits)
    alice = await imported(hub, folder)
    await push_array(hub, alice, "alice/digits", documents(9))
    assert await pull_array(hub, alice, "digits") == documents(3)
    with pytest.raises(LegacyFrozen):
        await push_array(hub, alice, "digits", documents(9))


# --- the command -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_imports_into_a_running_hub(live_hub: LiveHub, folder: Path) -> None:
    live_hub.admin("user-add", "alice")
    for name in ("digits", "secret"):
        add(folder, name, stream(documents(3)))
    describe(folder, secret={"public": False, "owner": "alice"})
    assert live_hub.admin("import-legacy", str(folder)) == "digits: imported\nsecret: imported\n"
    assert live_hub.admin("import-legacy", str(folder)) == "digits: already there\nsecret: already there\n"


# --- names that no database takes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "alice/a\0b", ""])
async def test_a_name_that_cannot_be_is_absent(hub: Hub, name: str) -> None:
    alice = await join_hub(hub)
    for subject in (ANONYMOUS, alice):
        with pytest.raises(NotFound):
            await find(hub, subject, name)
