"""Images as the old clients meet them: in the stream of a push, in its replay, and in ``getPackage``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select, update

from palomar.server.builds.builder import BuildFailure, BuildOrder, Log
from palomar.server.builds.models import Build, BuildSecret
from palomar.server.executors.find import hash_secret
from palomar.server.executors.models import Executor
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.web.hubble.build_shapes import escape_markup
from palomar.server.wiring import Hub
from tests.api.hubble import RPC, OldClient, old_client
from tests.api.packages import jina_push, package_of
from tests.factories.builds import Building, building
from tests.fixtures.hubs import ClientFactory
from tests.services.building import worker

HEADERS = {"jinameta-jina": "3.34.0", "jinameta-docarray": "0.38.0"}
DOCKER = {"id": "alice/MyExecutor", "include": ["code", "docker"], "rebuildImage": True}


async def say(order: BuildOrder, log: Log) -> None:
    log(f"token {order.build_env.get('TOKEN')} in [/usr/lib]")


async def fail(_order: BuildOrder, _log: Log) -> None:
    raise BuildFailure("requirements.txt line 1: there is no numpy 99", "Ask for another version.")


async def break_down(_order: BuildOrder, _log: Log) -> None:
    raise RuntimeError("the moon")


@pytest.fixture
async def world(small_hub: Hub) -> AsyncIterator[Building]:
    """A hub that builds, with a worker."""
    world = building(small_hub, script=say)
    async with worker(world):
        yield world


@pytest.fixture
async def alice(world: Building, client_factory: ClientFactory) -> OldClient:
    return await old_client(world.hub, client_factory, "alice", **HEADERS)


async def replay(client: OldClient, task_id: str, replay: str = "True") -> list[dict[str, Any]]:
    answer = await client.client.post(RPC + "executor.queryProgress", data={"id": task_id, "replay": replay})
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.removesuffix("\n").split("\n")]


async def tasks(client: OldClient) -> list[dict[str, Any]]:
    answer = await client.client.post(RPC + "executor.listAsyncTasks", data={"id": "MyExecutor"})
    listed: list[dict[str, Any]] = answer.json()["data"]
    return listed


class TestPush:
    async def test_it_shows_the_build_and_completes_after_it(self, alice: OldClient, world: Building):
        lines = await jina_push(alice, verbose="True")
        told = [line for line in lines if line.get("subject") == "buildWorkspace"]
        assert [line["type"] for line in told] == ["start", "console", "console", "done"]
        assert "jina 3.34.0 and docarray 0.38.0" in told[0]["payload"]
        assert told[2]["payload"] == "token None in [/usr/lib]"
        assert told[3]["payload"].startswith("image r1-")
        assert lines[-1]["type"] == "complete"
        assert world.builder.orders[0].variant.versions == ("3.34.0", "0.38.0")

    async def test_without_verbose_the_client_prints_markup_so_it_gets_none(self, alice: OldClient):
        lines = await jina_push(alice)
        (line,) = [line["payload"] for line in lines if "usr" in str(line.get("payload"))]
        assert line == r"token None in \[/usr/lib]"

    async def test_values_of_build_variables_are_in_no_line(self, alice: OldClient, world: Building):
        lines = await jina_push(alice, buildEnv='{"TOKEN": "hunter2"}')
        assert "hunter2" not in json.dumps(lines)
        assert "hunter2" not in json.dumps(await replay(alice, (await tasks(alice))[0]["_id"]))
        async with world.hub.database.read() as session:
            assert await session.scalar(select(BuildSecret.build_id)) is None

    @pytest.mark.parametrize("value", [r"\u0000--bind\u0000/", r"\ud800"])
    async def test_values_that_no_environment_can_hold_are_refused(self, alice: OldClient, value: str):
        (refused,) = await jina_push(alice, buildEnv=f'{{"TOKEN": "{value}"}}', status=400)
        assert "buildEnv" in refused["readableMessage"]

    async def test_no_cache_and_platforms_reach_the_build(self, alice: OldClient, world: Building):
        await jina_push(alice, buildWithNoCache="True", platform="linux/arm64,linux/riscv64")
        (order,) = world.builder.orders
        assert (order.no_cache, order.variant.platforms) == (True, ("linux/arm64", "linux/riscv64"))

    async def test_a_dockerfile_that_is_not_built_is_a_warning(self, alice: OldClient):
        lines = await jina_push(alice, package_of(Dockerfile=b"FROM python:3.11\n"))
        (warning,) = [line for line in lines if line["type"] == "warning"]
        assert "Dockerfile" in warning["message"]
        assert lines[-1]["type"] == "complete"

    async def test_the_asynchronous_push_answers_before_the_image_is_there(self, small_hub, client_factory):
        world = building(small_hub)
        alice = await old_client(world.hub, client_factory, "alice")
        (accepted,) = await jina_push(alice, id="", method="executor.createAsync")
        assert accepted["code"] == 202
        assert (await tasks(alice))[0]["status"] == "pending"
        asking = asyncio.create_task(replay(alice, accepted["data"]["_id"]))
        async with worker(world):
            lines = await asyncio.wait_for(asking, 30)
        assert (lines[-1]["status"], (await tasks(alice))[0]["status"]) == ("succeeded", "succeeded")
        assert lines[-1]["result"]["id"]


class TestFailure:
    @pytest.fixture
    async def world(self, small_hub: Hub) -> AsyncIterator[Building]:
        world = building(small_hub, script=fail)
        async with worker(world):
            yield world

    async def test_the_packages_fault_is_an_error_that_says_what_is_stored(self, alice: OldClient):
        last = (await jina_push(alice))[-1]
        assert last["type"] == "error"
        text = last["payload"]["readableMessage"]
        for part in ("line 1: there is no numpy 99. Ask for", "Release 1 of alice/MyExecutor", "jinaai://alice/MyExec"):
            assert part in text
        # With cmd 'docker' the client would show its own advice instead.
        assert last["payload"]["cmd"] != "docker"

    async def test_the_release_is_there_all_the_same(self, alice: OldClient):
        await jina_push(alice)
        found = await alice.call("executor.getPackage", id="alice/MyExecutor", include=["code"])
        assert found["package"]["containers"] == []

    async def test_status_and_get_package_say_the_same(self, alice: OldClient):
        await jina_push(alice)
        (task,) = await tasks(alice)
        assert task["status"] == "failed"
        last = (await replay(alice, task["_id"]))[-1]
        assert "no numpy 99" in last["error"]["message"]
        refused = await alice.post("executor.getPackage", status=409, json=DOCKER)
        assert refused["status"] == 50003
        assert "no numpy 99. Ask for another version." in refused["readableMessage"]


class TestTheHubsFault:
    @pytest.fixture
    async def world(self, small_hub: Hub) -> AsyncIterator[Building]:
        world = building(small_hub, script=break_down)
        async with worker(world):
            yield world

    async def test_it_is_a_warning_and_the_push_completes(self, alice: OldClient):
        lines = await jina_push(alice)
        (warning,) = [line for line in lines if line["type"] == "warning"]
        assert "the hub made a mistake" in warning["message"]
        assert lines[-1]["type"] == "complete"
        assert (await tasks(alice))[0]["status"] == "succeeded"


class TestStatus:
    async def test_a_replay_has_the_push_and_the_build_numbered_through(self, alice: OldClient):
        await jina_push(alice)
        lines = await replay(alice, (await tasks(alice))[0]["_id"])
        numbers = [line["data"]["sn"] for line in lines if line["type"] == "progress"]
        assert numbers == list(range(len(numbers)))
        times = [line["data"]["dt"] for line in lines if line["type"] == "progress"]
        assert times == sorted(times)
        payloads = [line["data"]["data"]["payload"] for line in lines if line["type"] == "progress"]
        assert r"token None in \[/usr/lib]" in payloads
        assert lines[-1]["status"] == "succeeded"

    async def test_without_a_replay_only_the_end_of_what_is_over(self, alice: OldClient):
        await jina_push(alice)
        (line,) = await replay(alice, (await tasks(alice))[0]["_id"], replay="False")
        assert line["status"] == "succeeded"


class TestGetPackage:
    async def test_a_container_that_never_moves_and_speaks_the_callers_docarray(
        self, alice: OldClient, world: Building, client_factory: ClientFactory
    ):
        await jina_push(alice)
        (name,) = (await alice.call("executor.getPackage", **DOCKER))["package"]["containers"]
        host, _, rest = name.partition("/")
        assert host == "hub.test"
        assert rest.startswith("alice/myexecutor:r1-")
        other = await old_client(world.hub, client_factory, None, **{**HEADERS, "jinameta-docarray": "0.21.0"})
        (another,) = (await other.call("executor.getPackage", **DOCKER))["package"]["containers"]
        assert another != name
        assert [order.variant.versions.docarray for order in world.builder.orders] == ["0.38.0", "0.21.0"]

    async def test_what_is_no_version_counts_as_not_said(self, alice, world, client_factory):
        await jina_push(alice)
        odd = {"jinameta-jina": "1.0; rm -rf /", "jinameta-docarray": "9" * 50}
        nobody = await old_client(world.hub, client_factory, None, **odd)
        assert (await nobody.call("executor.getPackage", **DOCKER))["package"]["containers"]
        assert len(world.builder.orders) == 1

    async def test_code_alone_builds_nothing(self, alice: OldClient, world: Building, client_factory: ClientFactory):
        await jina_push(alice)
        other = await old_client(world.hub, client_factory, None, **{"jinameta-docarray": "0.20.0"})
        found = await other.call("executor.getPackage", id="alice/MyExecutor", include=["code"], rebuildImage=True)
        assert found["package"]["containers"] == []
        assert len(world.builder.orders) == 1

    async def test_without_rebuild_the_pushers_image_will_do(self, alice, world, client_factory):
        await jina_push(alice)
        other = await old_client(world.hub, client_factory, None, **{"jinameta-docarray": "0.20.0"})
        found = await other.call("executor.getPackage", **{**DOCKER, "rebuildImage": False})
        assert len(found["package"]["containers"]) == len(world.builder.orders) == 1

    async def test_who_may_not_read_it_starts_no_build(self, alice, world, client_factory):
        await jina_push(alice, private="True")
        for name in (None, "bob"):
            stranger = await old_client(world.hub, client_factory, name, **{"jinameta-docarray": "0.20.0"})
            await stranger.post("executor.getPackage", status=404, json=DOCKER)
        async with world.hub.database.read() as session:
            assert len((await session.scalars(select(Build))).all()) == 1

    async def test_while_it_is_built_the_answer_is_a_sentence(self, small_hub, client_factory):
        alice = await old_client(building(small_hub, wait_s=1).hub, client_factory, "alice")
        await jina_push(alice, id="", method="executor.createAsync")
        refused = await alice.post("executor.getPackage", status=503, json=DOCKER)
        assert "waits for its build since" in refused["readableMessage"]
        assert "ask again" in refused["readableMessage"]

    async def test_where_nothing_is_built_the_answer_says_what_to_do(self, small_hub, client_factory):
        alice = await old_client(small_hub, client_factory, "alice")
        assert (await jina_push(alice))[-1]["type"] == "complete"
        refused = await alice.post("executor.getPackage", status=501, json=DOCKER)
        assert "palomar admin base-add" in refused["readableMessage"]

    async def test_an_old_executor_with_a_secret_has_no_image(self, alice: OldClient, world: Building):
        await jina_push(alice)
        async with world.hub.database.write() as session:
            namespace = await legacy_namespace(session)
            values = {"namespace_id": namespace.id, "secret_hash": hash_secret("s3cret")}
            await session.execute(update(Executor).values(**values))
        body = {**DOCKER, "id": "MyExecutor", "secret": "s3cret"}
        refused = await alice.post("executor.getPackage", status=501, json=body)
        assert "secret" in refused["readableMessage"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain [1] and [ x]", "plain [1] and [ x]"),
        ("[bold]", r"\[bold]"),
        (r"\[/a]", r"\\\[/a]"),
        ("C:\\", "C:\\\\"),
    ],
)
def test_markup_is_shown_as_text(text: str, escaped: str):
    assert escape_markup(text) == escaped
