"""Lists: the caller's own, filtered, sorted, in pages that neither overlap nor leave out, and counted right."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import func, select

from palomar.contract.errors import BadParameter, NotFound, PalomarError
from palomar.server.access.policy import Subject
from palomar.server.artifacts.counts import count_live
from palomar.server.artifacts.manage import delete_artifact, undelete_artifact
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact
from palomar.server.artifacts.queries import Page, list_own
from palomar.server.artifacts.resource import ShownArtifact
from palomar.server.namespaces.service import find_namespace
from palomar.server.wiring import Hub
from tests.services.pushes import documents, join_hub, push_array, push_file
from tests.services.test_artifacts_manage import WEEK, delete, update


async def listed(
    hub: Hub, subject: Subject, filters: dict[str, Any] | None = None, page: Page | None = None
) -> tuple[list[ShownArtifact], int]:
    async with hub.database.read() as session:
        return await list_own(session, subject, filters=filters or {}, page=page or Page())


async def names(
    hub: Hub, subject: Subject, filters: dict[str, Any] | None = None, page: Page | None = None
) -> list[str | None]:
    return [found.shown_name for found in (await listed(hub, subject, filters, page))[0]]


async def filled(hub: Hub) -> Subject:
    alice = await join_hub(hub)
    for number, name in enumerate(("beta", "Alpha", "gamma")):
        await push_array(
            hub,
            alice,
            f"alice/{name}",
            documents(1),
            is_public=number != 1,
            metadata={"n": number, "even": number % 2 == 0, "text": f"t{number}", "deep": {"er": name}, "mixed": name},
        )
    await push_file(hub, alice, "model.bin", b"weights", metadata={"n": "one", "mixed": 5})
    await push_file(hub, alice, "config", b"{}", type="settings")
    bob = await join_hub(hub, "bob")
    await push_array(hub, bob, "bob/public", documents(1))
    return alice


async def test_the_own_ones_are_listed_newest_first_as_they_were_pushed(hub: Hub) -> None:
    alice = await filled(hub)
    found, total = await listed(hub, alice)
    assert [one.shown_name for one in found] == ["config", "model.bin", "alice/gamma", "alice/Alpha", "alice/beta"]
    assert total == 5


FILTERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "arrays": ({"type": DOCUMENT_ARRAY}, {"alice/beta", "alice/Alpha", "alice/gamma"}),
    "plain files": ({"type": None}, {"model.bin"}),
    "a type": ({"type": "settings"}, {"config"}),
    "no such type": ({"type": "nothing"}, set()),
    "private": ({"visibility": "private"}, {"alice/Alpha", "model.bin", "config"}),
    "a name": ({"name": "beta"}, {"alice/beta"}),
    "a number in the metadata": ({"metaData.n": 2}, {"alice/gamma"}),
    "a text in the metadata": ({"metaData.n": "one"}, {"model.bin"}),
    "a text beside numbers": ({"metaData.mixed": "gamma"}, {"alice/gamma"}),
    "a number beside texts": ({"metaData.mixed": 5}, {"model.bin"}),
    "a boolean in the metadata": ({"metaData.even": True}, {"alice/beta", "alice/gamma"}),
    "a path in the metadata": ({"metaData.deep.er": "Alpha"}, {"alice/Alpha"}),
    "what is absent in the metadata": ({"metaData.deep": None}, {"model.bin"}),
    "two at once": ({"type": DOCUMENT_ARRAY, "visibility": "private"}, {"alice/Alpha"}),
    "a number where texts are": ({"type": 5}, set()),
}


@pytest.mark.parametrize("case", FILTERS)
async def test_a_filter_gives_what_it_says(hub: Hub, case: str) -> None:
    alice = await filled(hub)
    filters, expected = FILTERS[case]
    found, total = await listed(hub, alice, filters)
    assert {one.shown_name for one in found} == expected
    assert total == len(expected)
    # The count does not come from the length of the page here.
    for start in (0, len(expected) + 1):
        _, total = await listed(hub, alice, filters, Page(start=start, size=max(1, len(expected))))
        assert total == len(expected)


BAD_LISTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "an unknown field": ({"colour": "red"}, {}),
    "an operator": ({"type": {"$ne": "x"}}, {}),
    "a time": ({"createdAt": "2022"}, {}),
    "a path with quotes": ({"metaData.a'b": 1}, {}),
    "a path with an empty part": ({"metaData.a..b": 1}, {}),
    "a path too deep": ({"metaData." + ".".join("abcdefghi"): 1}, {}),
    "an unknown order": ({}, {"colour": 1}),
    "a direction": ({}, {"name": 2}),
    "a true direction": ({}, {"name": True}),
}


@pytest.mark.parametrize("case", BAD_LISTS)
async def test_a_list_that_nobody_can_make_is_refused(hub: Hub, case: str) -> None:
    alice = await join_hub(hub)
    filters, sort = BAD_LISTS[case]
    with pytest.raises(BadParameter):
        await listed(hub, alice, filters, Page(sort=sort))


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ({"name": 1}, ["alice/Alpha", "alice/beta", "config", "alice/gamma", "model.bin"]),
        ({"name": -1}, ["model.bin", "alice/gamma", "config", "alice/beta", "alice/Alpha"]),
        ({"createdAt": 1}, ["alice/beta", "alice/Alpha", "alice/gamma", "model.bin", "config"]),
        ({"visibility": 1, "name": 1}, ["alice/Alpha", "config", "model.bin", "alice/beta", "alice/gamma"]),
    ],
)
async def test_a_list_comes_in_the_order_asked_for(hub: Hub, sort: dict[str, int], expected: list[str]) -> None:
    alice = await filled(hub)
    assert await names(hub, alice, page=Page(sort=sort)) == expected


async def test_an_update_moves_an_array_to_the_front(hub: Hub) -> None:
    alice = await filled(hub)
    await push_array(hub, alice, "alice/beta", documents(2))
    assert (await names(hub, alice, page=Page(sort={"updatedAt": -1})))[0] == "alice/beta"


@pytest.mark.parametrize("sort", [{"createdAt": -1}, {"visibility": 1}, {"type": -1}])
async def test_pages_neither_overlap_nor_leave_out(hub: Hub, sort: dict[str, int]) -> None:
    alice = await filled(hub)
    pages = [await listed(hub, alice, page=Page(start=start, size=2, sort=sort)) for start in (0, 2, 4, 6)]
    assert [total for _, total in pages] == [5] * 4
    found = [one.id for page, _ in pages for one in page]
    assert found == [one.id for one in (await listed(hub, alice, page=Page(sort=sort)))[0]]
    assert len(set(found)) == 5


async def test_an_account_without_artifacts_has_an_empty_list(hub: Hub) -> None:
    alice = await join_hub(hub)
    assert await listed(hub, alice) == ([], 0)


async def test_a_deleted_one_is_not_listed(hub: Hub) -> None:
    alice = await filled(hub)
    await delete(hub, alice, "alice/beta")
    found, total = await listed(hub, alice)
    assert ("alice/beta" in [one.shown_name for one in found], total) == (False, 4)


async def counted(hub: Hub, kind: str | None) -> int:
    """What a count of the rows says."""
    async with hub.database.read() as session:
        namespace = await find_namespace(session, "alice")
        assert namespace is not None
        rows = select(func.count()).select_from(Artifact)
        live = rows.where(Artifact.namespace_id == namespace.id, Artifact.deleted_at.is_(None), Artifact.version > 0)
        return await session.scalar(live.where(Artifact.kind.is_(None) if kind is None else Artifact.kind == kind)) or 0


async def kept(hub: Hub, kind: str | None) -> int:
    async with hub.database.read() as session:
        namespace = await find_namespace(session, "alice")
        assert namespace is not None
        return await count_live(session, namespace.id, kind)


class Operations:
    """Whatever moves a count, at random; a refusal is as good as a success."""

    def __init__(self, hub: Hub, alice: Subject, seed: int) -> None:
        self.hub = hub
        self.alice = alice
        self.random = random.Random(seed)  # noqa: S311 - a failure must come again
        self.ids: list[str] = []

    async def step(self) -> None:
        name = self.random.choice("abcd")
        steps = [self.push_array, self.push_file, self.push_badly, self.delete, self.undelete, self.rename]
        try:
            await self.random.choice(steps)(name)
        except PalomarError:
            return

    async def push_array(self, name: str) -> None:
        self.ids.append((await push_array(self.hub, self.alice, f"alice/{name}", documents(1))).artifact_id)

    async def push_file(self, name: str) -> None:
        kind = self.random.choice([None, "settings"])
        self.ids.append((await push_file(self.hub, self.alice, name, b"x", type=kind)).artifact_id)

    async def push_badly(self, name: str) -> None:
        await push_array(self.hub, self.alice, f"alice/{name}", documents(1), base_version=99)

    async def delete(self, name: str) -> None:
        await delete(self.hub, self.alice, f"alice/{name}")

    async def undelete(self, _name: str) -> None:
        if self.ids:
            async with self.hub.database.write() as session:
                await undelete_artifact(session, self.alice, self.random.choice(self.ids), window=WEEK)

    async def rename(self, name: str) -> None:
        if self.ids:
            await update(self.hub, self.alice, self.random.choice(self.ids), name=f"alice/{name}")


@pytest.mark.parametrize("seed", range(3))
async def test_kept_counts_are_those_of_the_rows_after_whatever_happens(hub: Hub, seed: int) -> None:
    alice = await join_hub(hub)
    operations = Operations(hub, alice, seed)
    for _ in range(60):
        await operations.step()
    for kind in (None, "settings", DOCUMENT_ARRAY):
        assert await kept(hub, kind) == await counted(hub, kind)
    assert len(operations.ids) > 3


async def test_a_delete_that_is_rolled_back_leaves_the_count(hub: Hub) -> None:
    alice = await filled(hub)

    async def delete_both() -> None:
        async with hub.database.write() as session:
            await delete_artifact(session, alice, hub.artifact_rules, name="alice/beta")
            await delete_artifact(session, alice, hub.artifact_rules, name="alice/absent")

    with pytest.raises(NotFound):
        await delete_both()
    assert await kept(hub, DOCUMENT_ARRAY) == 3


@pytest.mark.parametrize("wanted", ["a\0b", "\ud800"])
@pytest.mark.parametrize("field", ["name", "type", "metaData.text"])
async def test_a_text_that_no_database_takes_matches_nothing(hub: Hub, field: str, wanted: str) -> None:
    alice = await filled(hub)
    assert await listed(hub, alice, {field: wanted}) == ([], 0)
