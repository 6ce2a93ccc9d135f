"""Lists and searches: what the caller may see, most recently pushed first, page by page."""

from __future__ import annotations

import pytest

from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.executors.listing import After, ExecutorQuery, list_releases, list_visible
from palomar.server.wiring import Hub
from tests.services.executor_pushes import delete, find, package, push
from tests.services.pushes import join_hub


async def listed(hub: Hub, subject: Subject, **query: object) -> list[str]:
    async with hub.database.read() as session:
        return [found.shown_name for found in await list_visible(session, subject, ExecutorQuery(**query))]


async def test_everybody_sees_what_is_public_and_the_owner_the_rest(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push(hub, alice, "Open")
    await push(hub, alice, "Hidden", is_public=False)
    await push(hub, alice, "Deleted")
    await delete(hub, alice, "alice/Deleted")
    assert await listed(hub, alice) == ["alice/Hidden", "alice/Open"]
    for subject in (bob, ANONYMOUS):
        assert await listed(hub, subject) == ["alice/Open"]


async def test_a_push_brings_to_the_front(hub: Hub) -> None:
    alice = await join_hub(hub)
    for name in ("One", "Two", "One"):
        await push(hub, alice, name)
    assert await listed(hub, alice) == ["alice/One", "alice/Two"]


async def test_a_namespace_narrows_the_list(hub: Hub) -> None:
    for name in ("alice", "bob"):
        await push(hub, await join_hub(hub, name), "MyExecutor")
    assert await listed(hub, ANONYMOUS, namespace="bob") == ["bob/MyExecutor"]
    assert await listed(hub, ANONYMOUS, namespace="nobody") == []


async def test_pages_follow_one_another_without_gap_or_double(hub: Hub) -> None:
    alice = await join_hub(hub)
    for number in range(5):
        await push(hub, alice, f"E{number}")
    seen, after = [], None
    while True:
        async with hub.database.read() as session:
            page = await list_visible(session, ANONYMOUS, ExecutorQuery(after=after, limit=2))
        seen += [found.executor.name for found in page[:2]]
        if len(page) <= 2:
            break
        after = After(page[1].executor.updated_at, page[1].executor.id)
    assert seen == ["E4", "E3", "E2", "E1", "E0"]


SEARCHES = {
    "enco": ["alice/TextEncoder"],
    "VECTORS": ["alice/TextEncoder"],
    "straße": ["alice/TextEncoder"],
    'a "word"': ["alice/TextEncoder"],
    "ImageTagger": ["alice/ImageTagger"],
    "pictures": ["alice/ImageTagger"],
    "e": ["alice/ImageTagger", "alice/TextEncoder"],
    # Signs of patterns, and of the list that keywords are kept in, mean nothing.
    "%": [],
    "_": [],
    ", ": [],
    "[": [],
    "\\u00df": [],
    "absent": [],
    "a\0b": [],
    "\ud800": [],
}


@pytest.mark.parametrize("search", SEARCHES)
async def test_a_search_looks_at_names_descriptions_and_keywords(hub: Hub, search: str) -> None:
    alice = await join_hub(hub)
    words = "  description: Turns text into vectors\n  keywords: ['a \"word\"', straße]\n"
    await push(hub, alice, "TextEncoder", package(metas=words))
    await push(hub, alice, "ImageTagger", package(metas="  keywords: [pictures, nets]\n"))
    await push(hub, alice, "HiddenEncoder", package(metas=words), is_public=False)
    assert await listed(hub, ANONYMOUS, search=search) == SEARCHES[search]


async def test_releases_are_listed_newest_first(hub: Hub) -> None:
    alice = await join_hub(hub)
    for number in range(4):
        await push(hub, alice, "MyExecutor", package(f"{number}."))
    found = await find(hub, alice, "alice/MyExecutor")
    async with hub.database.read() as session:
        pages = [
            [release.number for release in await list_releases(session, found, before=before, limit=2)]
            for before in (None, 3, 1)
        ]
    assert pages == [[4, 3, 2], [2, 1], []]
