"""The native API's Executors: what each caller sees, what owners change, releases, tags and comparisons."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from palomar.contract.names import Tag
from palomar.server.executors.models import Executor
from palomar.server.executors.tags import WantedTags
from palomar.server.executors.values import ExecutorPush
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.wiring import Hub
from tests.api.native import Actor, World, make_world, same_refusal
from tests.api.packages import PACKAGE, encoder, package_of, push_package
from tests.fixtures.hubs import BASE_URL, ClientFactory
from tests.services.pushes import subject_of

OPEN = "/executors/alice/Open"

Pushing = Callable[..., Awaitable[int]]


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    return await make_world(small_hub, client_factory)


@pytest.fixture
def push(world: World) -> Pushing:
    """Pushes as alice, or as somebody else; the number of the release."""
    actors = {"alice": world.alice, "bob": world.bob}

    async def pushed(
        name: str = "Open",
        data: bytes = PACKAGE,
        *,
        who: str = "alice",
        public: bool = True,
        tags: tuple[str, ...] = (),
    ) -> int:
        wanted = WantedTags(tuple(Tag(tag) for tag in tags))
        order = ExecutorPush(name, is_public=public, tags=wanted, build_env={"KEY": "s3cret-value"})
        account_id = (await actors[who].get("/whoami"))["account_id"]
        return (await push_package(world.hub, subject_of(account_id, who), order, data)).release

    return pushed


async def names(actor: Actor, query: str = "") -> list[str]:
    return [row["name"] for row in (await actor.get(f"/executors{query}"))["executors"]]


async def test_list_shows_own_and_public_executors(world: World, push: Pushing) -> None:
    await push("Open")
    await push("Hidden", public=False)
    assert await names(world.alice) == ["Hidden", "Open"]
    assert await names(world.bob) == ["Open"]
    assert await names(world.nobody) == ["Open"]


async def test_list_is_filtered_by_namespace_and_words(world: World, push: Pushing) -> None:
    described = b"jtype: MyExecutor\nmetas:\n  name: x\n  description: Finds Birds\n  keywords: [ornithology]\n"
    await push("Open", package_of(config_yml=described))
    await push("Other", who="bob")
    assert await names(world.nobody, "?namespace=bob") == ["Other"]
    assert await names(world.nobody, "?search=OPE") == ["Open"]
    assert await names(world.nobody, "?search=birds") == ["Open"]
    assert await names(world.nobody, "?search=ornitho") == ["Open"]
    assert await names(world.nobody, "?search=%25") == []
    assert await names(world.nobody, "?namespace=no%20such") == []


async def test_pages_are_disjoint_and_complete(world: World, push: Pushing) -> None:
    for number in range(5):
        await push(f"E{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = await world.nobody.get(f"/executors?limit=2{cursor}")
        seen += [row["name"] for row in page["executors"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["E4", "E3", "E2", "E1", "E0"]


@pytest.mark.parametrize("query", ["cursor=nonsense", "limit=0", "limit=201", "search=", "search=%00"])
async def test_bad_query_is_refused(world: World, query: str) -> None:
    answer = await world.nobody.call("GET", f"/executors?{query}", status=400)
    assert answer.json()["code"] == "bad-parameter"


async def test_one_executor_with_its_tags(world: World, push: Pushing) -> None:
    await push(tags=("v1", "latest"))
    await push(tags=("latest",))
    told = await world.nobody.get(OPEN)
    assert (told["namespace"], told["name"], told["releases"], told["visibility"]) == ("alice", "Open", 2, "public")
    assert len(told["id"]) == 8
    assert {tag["name"]: tag["release"] for tag in told["tags"]} == {"latest": 2, "v1": 1}
    assert "secret_hash" not in told


async def test_private_looks_absent_at_every_path(world: World, push: Pushing) -> None:
    await push("Hidden", public=False)
    for tail in ("", "/releases", "/releases/1", "/releases/1/package", "/compare?old=1&new=1"):
        hidden = await world.bob.call("GET", f"/executors/alice/Hidden{tail}", status=404)
        absent = await world.bob.call("GET", f"/executors/alice/Absent{tail}", status=404)
        assert same_refusal(hidden, absent, names=("alice/Hidden", "alice/Absent"))


async def test_owner_changes_visibility_and_name(world: World, push: Pushing) -> None:
    await push()
    told = await world.alice.call("PATCH", OPEN, json={"visibility": "private", "name": "Renamed"})
    assert (told.json()["visibility"], told.json()["name"]) == ("private", "Renamed")
    await world.nobody.call("GET", "/executors/alice/Renamed", status=404)
    await world.alice.call("GET", OPEN, status=404)
    assert (await world.alice.get("/executors/alice/renamed"))["name"] == "Renamed"


async def test_name_that_is_taken_is_refused(world: World, push: Pushing) -> None:
    await push("Open")
    await push("Taken")
    taken = await world.alice.call("PATCH", OPEN, json={"name": "TAKEN"}, status=409)
    assert taken.json()["code"] == "name-taken"


async def test_bad_changes_are_refused(world: World, push: Pushing) -> None:
    await push()
    await world.alice.call("PATCH", OPEN, json={"name": "a b"}, status=400)
    await world.alice.call("PATCH", OPEN, json={"secret": "x"}, status=400)


async def test_delete_and_undelete(world: World, push: Pushing) -> None:
    await push(tags=("v1",))
    await world.alice.call("DELETE", OPEN, status=204)
    await world.alice.call("GET", OPEN, status=404)
    deleted = await world.bob.call("POST", f"{OPEN}/undelete", status=404)
    absent = await world.bob.call("POST", "/executors/alice/Gone/undelete", status=404)
    assert same_refusal(deleted, absent, names=("alice/Open", "alice/Gone"))
    told = (await world.alice.call("POST", f"{OPEN}/undelete")).json()
    assert [tag["name"] for tag in told["tags"]] == ["v1"]
    assert await names(world.nobody) == ["Open"]
    await world.alice.call("POST", f"{OPEN}/undelete", status=404)


async def test_releases_newest_first_in_pages(world: World, push: Pushing) -> None:
    for _ in range(3):
        await push(tags=("latest",))
    first = await world.nobody.get(f"{OPEN}/releases?limit=2")
    assert [(row["release"], row["tags"]) for row in first["releases"]] == [(3, ["latest"]), (2, [])]
    assert first["releases"][0]["pushed_by"] == "alice"
    rest = await world.nobody.get(f"{OPEN}/releases?limit=2&cursor={first['next_cursor']}")
    assert ([row["release"] for row in rest["releases"]], rest["next_cursor"]) == ([1], None)


async def test_release_tells_what_was_read_and_no_value_of_a_variable(world: World, push: Pushing) -> None:
    await push(data=package_of(README_md=b"# Read me", Dockerfile=b"FROM scratch\n", requirements_txt=b"numpy>=1\n"))
    told = await world.nobody.get(f"{OPEN}/releases/1")
    assert (told["class_name"], told["docstring"], told["requirements"]) == ("MyExecutor", "Counts.", ["numpy>=1"])
    assert [(one["name"], one["method"]) for one in told["endpoints"]] == [("/default", "foo")]
    assert {file["name"] for file in told["files"]} == {
        "config.yml",
        "executor.py",
        "README.md",
        "Dockerfile",
        "requirements.txt",
    }
    assert (told["readme"], told["dockerfile"], told["build_env"]) == (None, None, ["KEY"])
    whole = await world.nobody.get(f"{OPEN}/releases/1?readme=true")
    assert (whole["readme"], whole["dockerfile"]) == ("# Read me", "FROM scratch\n")
    assert "s3cret-value" not in str(whole)


async def test_release_that_is_not_there(world: World, push: Pushing) -> None:
    await push()
    answer = await world.nobody.call("GET", f"{OPEN}/releases/2", status=404)
    assert answer.json()["code"] == "not-found"
    await world.nobody.call("GET", f"{OPEN}/releases/0", status=400)


async def test_package_is_what_was_pushed(world: World, push: Pushing) -> None:
    await push()
    told = await world.nobody.get(f"{OPEN}/releases/1/package?redirect=false")
    assert (told["package_bytes"], told["digest"]) == (len(PACKAGE), hashlib.sha256(PACKAGE).hexdigest())
    assert (await world.nobody.client.get(told["url"])).content == PACKAGE
    led = await world.nobody.call("GET", f"{OPEN}/releases/1/package", status=307)
    assert led.headers["location"].startswith(f"{BASE_URL}/download/package/")


async def test_comparison(world: World, push: Pushing) -> None:
    await push(data=encoder("size: int = 1", "/encode"))
    await push(data=encoder("size: int = 1, deep: bool = True", "/embed"))
    told = await world.nobody.get(f"{OPEN}/compare?old=1&new=2")
    kinds = [(change["kind"], change["is_breaking"]) for change in told["changes"]]
    assert kinds == [("endpoint-removed", True), ("argument-added", False), ("endpoint-added", False)]
    assert told["is_breaking"] is True
    same = await world.nobody.get(f"{OPEN}/compare?old=1&new=1")
    assert (same["is_breaking"], same["changes"]) == (False, [])
    await world.nobody.call("GET", f"{OPEN}/compare?old=1&new=3", status=404)
    await world.nobody.call("GET", f"{OPEN}/compare?old=1", status=400)


async def test_tag_moves_until_it_is_protected(world: World, push: Pushing) -> None:
    await push()
    await push()
    told = await world.alice.call("PUT", f"{OPEN}/tags/stable", json={"release": 1})
    assert tag_of(told.json(), "stable") == (1, False)
    told = await world.alice.call("PUT", f"{OPEN}/tags/stable", json={"release": 2, "is_protected": True})
    assert tag_of(told.json(), "stable") == (2, True)
    refused = await world.alice.call("PUT", f"{OPEN}/tags/stable", json={"release": 1}, status=409)
    assert refused.json()["code"] == "tag-protected"
    kept = await world.alice.call("DELETE", f"{OPEN}/tags/stable", status=409)
    assert kept.json()["code"] == "tag-protected"
    assert tag_of(await world.alice.get(OPEN), "stable") == (2, True)


def tag_of(told: dict[str, Any], name: str) -> tuple[int, bool] | None:
    return next(((tag["release"], tag["is_protected"]) for tag in told["tags"] if tag["name"] == name), None)


async def test_tag_goes_and_its_release_stays(world: World, push: Pushing) -> None:
    await push(tags=("v1",))
    await world.alice.call("DELETE", f"{OPEN}/tags/v1", status=204)
    assert (await world.alice.get(OPEN))["tags"] == []
    assert (await world.alice.get(f"{OPEN}/releases/1"))["tags"] == []
    await world.alice.call("DELETE", f"{OPEN}/tags/v1", status=404)


async def test_bad_tags_are_refused(world: World, push: Pushing) -> None:
    await push()
    await world.alice.call("PUT", f"{OPEN}/tags/a b", json={"release": 1}, status=400)
    await world.alice.call("PUT", f"{OPEN}/tags/v1", json={"release": 9}, status=404)
    await world.alice.call("PUT", f"{OPEN}/tags/v1", json={"release": 0}, status=400)
    await world.bob.call("PUT", f"{OPEN}/tags/a b", json={"release": 1}, status=403)


async def test_namespace_decides_on_breaking_releases(world: World) -> None:
    assert (await world.alice.get("/namespaces/alice"))["refuse_breaking"] is False
    told = await world.alice.call("PATCH", "/namespaces/alice", json={"refuse_breaking": True})
    assert told.json()["refuse_breaking"] is True
    await world.alice.call("PATCH", "/namespaces/alice", json={"default_visibility": "private"})
    assert (await world.alice.get("/namespaces/alice"))["refuse_breaking"] is True


async def test_old_unnamespaced_executor_can_be_read_and_never_changed(world: World, push: Pushing) -> None:
    await push()
    async with world.hub.database.write() as session:
        namespace = await legacy_namespace(session)
        executor = Executor(
            short_id="abcdefgh",
            namespace_id=namespace.id,
            name="Old",
            name_key="old",
            visibility="public",
            keywords=[],
            secret_hash="0" * 64,
        )
        session.add(executor)
    told = await world.nobody.get("/executors/_/Old")
    assert (told["namespace"], told["name"]) == (None, "Old")
    assert "0000" not in str(told)
    assert await names(world.nobody, "?namespace=_") == ["Old"]
    await world.alice.call("DELETE", "/executors/_/Old", status=403)
    await world.alice.call("PATCH", "/executors/_/Old", json={"visibility": "private"}, status=403)
    await world.alice.call("PUT", "/executors/_/Old/tags/v1", json={"release": 1}, status=403)
    for absent in ("/executors/_legacy/Old", "/executors/_/Open", "/executors/_/None"):
        await world.alice.call("GET", absent, status=404)
