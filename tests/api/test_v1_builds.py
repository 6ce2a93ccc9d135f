"""``/executors/.../builds``: what was built, its log as it grows, again, and enough of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from palomar.server.builds.builder import BuildFailure, BuildOrder, Log
from palomar.server.wiring import Hub
from tests.api.native import Actor, World, make_world, same_refusal
from tests.factories.builds import Building, building
from tests.fixtures.hubs import ClientFactory
from tests.services.building import image_tags, push_and_ask, push_and_build, subject_named, worker
from tests.services.executor_pushes import package

PATH = "/executors/alice/MyExecutor/releases/1/builds"


@pytest.fixture
async def building_hub(small_hub: Hub) -> Building:
    return building(small_hub)


@pytest.fixture
async def world(building_hub: Building, client_factory: ClientFactory) -> World:
    return await make_world(building_hub.hub, client_factory)


@pytest.fixture
async def pusher(building_hub: Building, world: World) -> Any:
    return await subject_named(building_hub.hub, "alice")


async def log_lines(actor: Actor, build_id: str, **query: Any) -> list[dict[str, Any]]:
    answer = await actor.call("GET", f"{PATH}/{build_id}/log", params=query)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines() if line]


async def until(condition: Callable[[dict[str, Any]], bool], actor: Actor, build_id: str) -> None:
    async with asyncio.timeout(30):
        while not condition(await actor.get(f"{PATH}/{build_id}")):  # noqa: ASYNC110 - what a client sees
            await asyncio.sleep(0.05)


async def test_builds_are_listed_for_whoever_may_read_the_executor(building_hub, world: World, pusher):
    build = await push_and_build(building_hub, pusher)
    (row,) = (await world.nobody.get(PATH))["builds"]
    assert row == await world.bob.get(f"{PATH}/{build.id}")
    assert (row["state"], row["image"]) == ("succeeded", f"alice/myexecutor:{build.image_tag}")
    assert (row["jina"], row["docarray"], row["builder"]) == ("3.34.0", "0.21.0", "layered")


async def test_private_and_absent_look_alike(building_hub, world: World, pusher):
    build = await push_and_build(building_hub, pusher, is_public=False)
    for actor in (world.nobody, world.bob):
        for path in ("", f"/{build.id}", f"/{build.id}/log"):
            hidden = await actor.call("GET", PATH + path, status=404)
            absent = await actor.call("GET", PATH.replace("MyExecutor", "NoExecutor") + path, status=404)
            assert same_refusal(hidden, absent, names=("MyExecutor", "NoExecutor"))


async def test_a_build_of_another_release_is_none_of_this_one(building_hub, world: World, pusher):
    await push_and_build(building_hub, pusher)
    other = await push_and_build(building_hub, pusher, package("Another."))
    await world.alice.call("GET", f"{PATH}/{other.id}", status=404)
    await world.alice.call("POST", f"{PATH}/{other.id}/cancel", status=404)


async def test_the_log_of_a_build_that_is_over(building_hub, world: World, pusher):
    build = await push_and_build(building_hub, pusher)
    lines = await log_lines(world.bob, build.id)
    assert [line["text"] for line in lines[:-1]] == ["building alice/MyExecutor release 1 for jina 3.34.0"]
    assert lines[-1]["build"]["state"] == "succeeded"
    assert lines == await log_lines(world.bob, build.id, follow=False)
    assert len(await log_lines(world.bob, build.id, after=1)) == 1


async def test_a_log_is_followed_to_the_end_of_its_build(small_hub: Hub, client_factory: ClientFactory):
    go_on = asyncio.Event()

    async def count(_order: BuildOrder, log: Log) -> None:
        for number in range(600):
            log(f"line {number}")
        await asyncio.wait_for(go_on.wait(), 30)
        log("last")

    built = building(small_hub, script=count)
    world = await make_world(built.hub, client_factory)
    build = await push_and_ask(built, await subject_named(built.hub, "alice"))
    async with worker(built):
        following = asyncio.create_task(log_lines(world.bob, build.id))
        await until(lambda row: row["log_lines"] >= 600, world.bob, build.id)
        unfinished = await log_lines(world.bob, build.id, follow=False)
        assert unfinished[-1]["build"]["state"] == "running"
        go_on.set()
        lines = await asyncio.wait_for(following, 30)
    assert [line["number"] for line in lines[:-1]] == list(range(1, 603))
    assert (lines[-2]["text"], lines[-1]["build"]["state"]) == ("last", "succeeded")


async def test_the_owner_builds_again_and_for_other_versions(building_hub, world: World, pusher):
    first = await push_and_build(building_hub, pusher)
    order = {"docarray": "0.38.0", "no_cache": True}
    ordered = (await world.alice.call("POST", PATH, json=order, status=202)).json()
    assert (ordered["state"], ordered["docarray"], ordered["no_cache"]) == ("waiting", "0.38.0", True)
    assert ordered["id"] == (await world.alice.call("POST", PATH, json=order, status=202)).json()["id"]
    again = (await world.alice.call("POST", PATH, json={}, status=202)).json()
    assert again["id"] not in {first.id, ordered["id"]}
    assert len((await world.alice.get(PATH))["builds"]) == 3


@pytest.mark.parametrize("order", [{"jina": "latest"}, {"docarray": "1.0+x"}, {"platform": "A B"}, {"jinja": "1"}])
async def test_what_is_no_order_is_refused(building_hub, world: World, pusher, order: dict[str, str]):
    await push_and_build(building_hub, pusher)
    await world.alice.call("POST", PATH, json=order, status=400)


async def test_what_needs_values_cannot_be_built_again(building_hub, world: World, pusher):
    await push_and_build(building_hub, pusher, build_env={"TOKEN": "s3cret"})
    refused = await world.alice.call("POST", PATH, json={}, status=501)
    assert "TOKEN" in refused.json()["detail"]
    assert "s3cret" not in refused.text


async def test_without_a_base_there_is_nothing_to_build_on(small_hub: Hub, client_factory: ClientFactory):
    world = await make_world(small_hub, client_factory)
    await push_and_build(building(small_hub), await subject_named(small_hub, "alice"))
    refused = await world.alice.call("POST", PATH, json={}, status=501)
    assert refused.json()["code"] == "image-not-built"


async def test_the_owner_cancels_what_waits_and_nobody_what_is_over(building_hub, world: World, pusher):
    build = await push_and_ask(building_hub, pusher)
    await world.bob.call("POST", f"{PATH}/{build.id}/cancel", status=403)
    await world.nobody.call("POST", f"{PATH}/{build.id}/cancel", status=401)
    assert (await world.alice.call("POST", f"{PATH}/{build.id}/cancel")).json()["state"] == "cancelled"
    refused = await world.alice.call("POST", f"{PATH}/{build.id}/cancel", status=409)
    assert refused.json()["code"] == "build-over"


async def test_a_cancelled_run_stops(small_hub: Hub, client_factory: ClientFactory):
    async def hang(_order: BuildOrder, _log: Log) -> None:
        await asyncio.Event().wait()

    built = building(small_hub, script=hang)
    world = await make_world(built.hub, client_factory)
    build = await push_and_ask(built, await subject_named(built.hub, "alice"))
    async with worker(built):
        await until(lambda row: row["state"] == "running", world.bob, build.id)
        cancelled = (await world.alice.call("POST", f"{PATH}/{build.id}/cancel")).json()
        assert cancelled["state"] == "running"
        lines = await asyncio.wait_for(log_lines(world.alice, build.id), 30)
    assert lines[-1]["build"]["state"] == "cancelled"


async def test_a_failure_has_its_sentence_and_its_advice(small_hub: Hub, client_factory: ClientFactory):
    async def fail(_order: BuildOrder, _log: Log) -> None:
        raise BuildFailure("there is no numpy 99", "Ask for another version.")

    built = building(small_hub, script=fail)
    world = await make_world(built.hub, client_factory)
    await push_and_build(built, await subject_named(built.hub, "alice"))
    (row,) = (await world.bob.get(PATH))["builds"]
    assert (row["state"], row["error"], row["hint"]) == ("failed", "there is no numpy 99", "Ask for another version.")
    assert (row["image"], row["is_hubs_fault"]) == (None, False)


async def test_moving_a_tag_moves_the_tag_of_the_image(building_hub, world: World, pusher):
    await push_and_build(building_hub, pusher)
    await world.alice.call("PUT", "/executors/alice/MyExecutor/tags/stable", json={"release": 1})
    assert "stable" in await image_tags(building_hub.hub)
    await world.alice.call("DELETE", "/executors/alice/MyExecutor/tags/stable", status=204)
    assert "stable" not in await image_tags(building_hub.hub)
