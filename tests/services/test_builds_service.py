"""The life of a build: asked for, run once or again, ended once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from palomar.contract.errors import BuildOver, DataCorrupt, NotFound, TooManyBuilds, TooManyVariants
from palomar.server.access.policy import ANONYMOUS
from palomar.server.builds.builder import BuildFailure, BuildOrder, Log
from palomar.server.builds.metrics import ENDED
from palomar.server.builds.service import STOPPED
from palomar.server.builds.upkeep import purge_builds
from palomar.server.builds.values import BuildRequest
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.find import find_readable
from palomar.server.executors.purge import purge_deleted
from palomar.server.executors.tags import tagged_release
from palomar.server.wiring import Hub
from tests.factories.builds import building
from tests.services.building import (
    NEW,
    ask_again,
    has_secrets,
    log_of,
    push_and_ask,
    push_and_build,
    read_build,
)
from tests.services.executor_pushes import deleted_ago, find, kinds_of_events, package, push
from tests.services.pushes import join_hub

DOCKERFILE = package(Dockerfile=b"FROM python:3.11\n")


async def test_a_push_asks_for_a_build_and_its_run_makes_an_image(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_ask(world, alice)
    assert (build.state, build.jina, build.docarray, build.platform) == ("waiting", "3.34.0", "0.21.0", build.platform)
    assert await world.job.run(build.id) == {"state": "succeeded"}
    build = await read_build(hub, build.id)
    assert build.image_tag == f"r1-{str(build.manifest_digest)[7:19]}"
    assert build.ended_at is not None
    assert (await log_of(hub, build.id))[0] == "building alice/MyExecutor release 1 for jina 3.34.0"


async def test_without_a_base_image_or_with_builds_off_nothing_is_asked_for(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    request = BuildRequest()
    assert await hub.builds.after_push(receipt.executor_id, receipt.release_id, request) is None
    off = building(hub, is_on=False)
    assert await off.builds.after_push(receipt.executor_id, receipt.release_id, request) is None


async def test_whoever_asks_for_the_same_gets_the_same_build(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    builds = await asyncio.gather(*(ask_again(world, receipt) for _ in range(5)))
    assert len({build.id for build in builds}) == 1
    other = await ask_again(world, receipt, versions=NEW)
    assert (other.id != builds[0].id, other.docarray) == (True, "0.38.0")


async def test_after_the_end_of_a_build_the_same_can_be_built_again(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    first = await ask_again(world, receipt)
    await world.job.run(first.id)
    second = await ask_again(world, receipt)
    await world.job.run(second.id)
    first, second = await read_build(hub, first.id), await read_build(hub, second.id)
    assert first.id != second.id
    assert first.image_tag == second.image_tag


async def test_a_dockerfile_is_skipped_where_the_operator_allows_none(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_ask(world, alice, DOCKERFILE, build_env={"TOKEN": "s3cret"})
    assert (build.state, build.builder) == ("skipped", "buildah")
    assert "Dockerfile" in build.error
    assert "PALOMAR_DOCKERFILE_BUILDS" in build.hint
    assert not await has_secrets(hub)
    allowed = building(hub, dockerfiles=True)
    assert (await push_and_build(allowed, alice, DOCKERFILE)).state == "succeeded"


async def test_a_failure_says_why_and_what_to_try_and_is_recorded(hub: Hub) -> None:
    async def fail(_order: BuildOrder, _log: Log) -> None:
        raise BuildFailure("requirements.txt line 3: there is no numpy 99", "Ask for another version.")

    world, alice = building(hub, script=fail), await join_hub(hub)
    build = await push_and_build(world, alice)
    assert (build.state, build.is_hubs_fault) == ("failed", False)
    assert (build.error, build.hint) == ("requirements.txt line 3: there is no numpy 99", "Ask for another version.")
    executor_id = (await find(hub, alice, "alice/MyExecutor")).executor.id
    assert (await kinds_of_events(hub, executor_id))[-2:] == ["build.requested", "build.failed"]


@pytest.mark.parametrize("error", [RuntimeError("the moon"), DataCorrupt("A stored blob")])
async def test_whatever_else_goes_wrong_is_the_hubs_fault(hub: Hub, error: Exception) -> None:
    async def fail(_order: BuildOrder, _log: Log) -> None:
        raise error

    build = await push_and_build(building(hub, script=fail), await join_hub(hub))
    assert (build.state, build.is_hubs_fault) == ("failed", True)
    assert "moon" not in build.error


# --- secrets -------------------------------------------------------------------------------------------------------


async def test_values_of_build_variables_reach_the_builder_and_nothing_else(hub: Hub) -> None:
    secret = "hunter2/&?"

    async def tell(order: BuildOrder, log: Log) -> None:
        log(f"index https://user:{order.build_env['TOKEN']}@host/ and https://user:hunter2%2F%26%3F@host/")
        raise BuildFailure(f"no access with {secret}", f"try without {secret}")

    world, alice = building(hub, script=tell), await join_hub(hub)
    build = await push_and_ask(world, alice, build_env={"TOKEN": secret})
    assert await has_secrets(hub)
    await world.job.run(build.id)
    assert world.builder.orders[0].build_env == {"TOKEN": secret}
    assert secret not in repr(world.builder.orders[0])
    assert not await has_secrets(hub)
    build = await read_build(hub, build.id)
    told = [*await log_of(hub, build.id), build.error, build.hint]
    assert "index https://user:****@host/ and https://user:****@host/" in told
    assert not any("hunter2" in text for text in told)


async def test_values_go_with_a_cancelled_build_too(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_ask(world, alice, build_env={"TOKEN": "s3cret"})
    await _cancel(world.hub, build.id)
    assert not await has_secrets(hub)


# --- being killed, cancelled, late -----------------------------------------------------------------------------------


async def test_a_run_that_was_killed_is_repeated_and_the_fourth_one_gives_up(hub: Hub) -> None:
    began = asyncio.Event()

    async def hang(_order: BuildOrder, log: Log) -> None:
        log("hanging")
        began.set()
        await asyncio.Event().wait()

    world, alice = building(hub, script=hang), await join_hub(hub)
    build = await push_and_ask(world, alice)
    for attempt in (1, 2, 3):
        began.clear()
        run = asyncio.create_task(world.job.run(build.id))
        await asyncio.wait_for(began.wait(), 30)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert ((await read_build(hub, build.id)).state, (await read_build(hub, build.id)).attempts) == (
            "running",
            attempt,
        )
    assert await world.job.run(build.id) == {"state": "failed"}
    build = await read_build(hub, build.id)
    assert (build.error, build.is_hubs_fault) == (STOPPED, True)
    assert (await log_of(hub, build.id)).count("hanging") == 3
    assert list((hub.settings.data / "work").iterdir()) == []


async def test_a_second_run_after_a_kill_comes_out_well(hub: Hub) -> None:
    runs = 0

    async def die_once(_order: BuildOrder, _log: Log) -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise asyncio.CancelledError

    world, alice = building(hub, script=die_once), await join_hub(hub)
    build = await push_and_ask(world, alice)
    with pytest.raises(asyncio.CancelledError):
        await world.job.run(build.id)
    assert await world.job.run(build.id) == {"state": "succeeded"}


async def test_every_end_is_counted_once(hub: Hub) -> None:
    before = ENDED.labels("layered", "succeeded")._value.get()
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    await world.job.run(build.id)
    assert ENDED.labels("layered", "succeeded")._value.get() == before + 1


async def test_two_runs_at_once_end_as_one(hub: Hub) -> None:
    both = asyncio.Barrier(2)

    async def together(_order: BuildOrder, _log: Log) -> None:
        await asyncio.wait_for(both.wait(), 30)

    world, alice = building(hub, script=together), await join_hub(hub)
    build = await push_and_ask(world, alice)
    ended = await asyncio.gather(world.job.run(build.id), world.job.run(build.id))
    assert ended == [{"state": "succeeded"}] * 2
    assert len(world.builder.orders) == 2


async def test_a_run_of_what_is_over_does_nothing(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    assert await world.job.run(build.id) == {"state": "succeeded"}
    assert await world.job.run("f" * 32) == {"state": "gone"}
    assert len(world.builder.orders) == 1


async def _cancel(hub: Hub, build_id: str) -> None:
    async with hub.database.write() as session:
        found = await find_readable(session, ANONYMOUS, "alice/MyExecutor")
        release = await tagged_release(session, found.executor, None, asked_name="x")
        await hub.builds.cancel(session, found, release, build_id)


async def test_a_waiting_build_is_cancelled_at_once(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_ask(world, alice)
    await _cancel(world.hub, build.id)
    assert (await read_build(hub, build.id)).state == "cancelled"
    assert await world.job.run(build.id) == {"state": "cancelled"}
    assert world.builder.orders == []
    with pytest.raises(BuildOver):
        await _cancel(world.hub, build.id)
    with pytest.raises(NotFound):
        await _cancel(world.hub, "f" * 32)


async def test_a_running_build_sees_that_it_is_cancelled_and_its_builder_is_told(hub: Hub) -> None:
    began, told = asyncio.Event(), asyncio.Event()

    async def hang(_order: BuildOrder, _log: Log) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            told.set()

    world, alice = building(hub, script=hang), await join_hub(hub)
    build = await push_and_ask(world, alice)
    run = asyncio.create_task(world.job.run(build.id))
    await asyncio.wait_for(began.wait(), 30)
    await _cancel(world.hub, build.id)
    assert await asyncio.wait_for(run, 30) == {"state": "cancelled"}
    assert told.is_set()


async def test_deleting_the_executor_cancels_what_runs_and_what_waits(hub: Hub) -> None:
    began = asyncio.Event()

    async def hang(_order: BuildOrder, _log: Log) -> None:
        began.set()
        await asyncio.Event().wait()

    world, alice = building(hub, script=hang), await join_hub(hub)
    running, waiting = await push_and_ask(world, alice), await push_and_ask(world, alice, package("Another."))
    run = asyncio.create_task(world.job.run(running.id))
    await asyncio.wait_for(began.wait(), 30)
    await deleted_ago(hub, alice, "alice/MyExecutor", timedelta(0))
    assert await asyncio.wait_for(run, 30) == {"state": "cancelled"}
    assert await world.job.run(waiting.id) == {"state": "cancelled"}


async def test_a_build_that_takes_too_long_is_ended(hub: Hub) -> None:
    async def hang(_order: BuildOrder, _log: Log) -> None:
        await asyncio.Event().wait()

    build = await push_and_build(building(hub, script=hang, timeout_s=1), await join_hub(hub))
    assert (build.state, build.is_hubs_fault) == ("failed", True)
    assert "longer than the 1 seconds" in build.error


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_only_so_many_builds_of_a_namespace_wait(hub: Hub) -> None:
    world, alice = building(hub, max_waiting=2), await join_hub(hub)
    await push_and_ask(world, alice)
    await push_and_ask(world, alice, package("Two."))
    with pytest.raises(TooManyBuilds):
        await push_and_ask(world, alice, package("Three."))


async def test_only_so_many_variants_of_a_release_are_built(hub: Hub) -> None:
    world, alice = building(hub, max_variants=2), await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    for minor in (1, 2):
        build = await ask_again(world, receipt, versions=AskedVersions(f"3.{minor}.0"))
        await world.job.run(build.id)
    await ask_again(world, receipt, versions=AskedVersions("3.1.0"))
    with pytest.raises(TooManyVariants):
        await ask_again(world, receipt, versions=AskedVersions("3.3.0"))


# --- upkeep ----------------------------------------------------------------------------------------------------------


async def test_builds_of_a_purged_release_go_with_what_they_said(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    await deleted_ago(hub, alice, "alice/MyExecutor", timedelta(days=8))
    assert await purge_builds(hub.database) == 0
    await purge_deleted(hub.database, older_than=timedelta(days=7))
    assert await purge_builds(hub.database) == 1
    assert await log_of(hub, build.id) == []
