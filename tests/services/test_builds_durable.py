"""Builds on the real job engine: none is lost, none is run twice for being asked for twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from palomar.server.builds import job as build_job
from palomar.server.builds.builder import BuildOrder, Log
from palomar.server.builds.upkeep import Upkeep
from palomar.server.db.columns import utc_now
from palomar.server.jobs.jobs import Jobs
from palomar.server.wiring import Hub
from tests.factories.builds import Building, building
from tests.services.building import push_and_ask, read_build, set_build
from tests.services.pushes import join_hub

MakeJobs = Callable[[Building], Jobs]


@pytest.fixture
async def make_jobs(hub: Hub) -> AsyncIterator[MakeJobs]:
    """Workers that run builds, as replicas have them; all stopped in the end."""
    async with AsyncExitStack() as stack:

        def make(world: Building) -> Jobs:
            url, locks = hub.settings.jobs_database, hub.settings.data / "workers"
            jobs = Jobs(url, locks=locks, poll_s=0.05, round_s=0.05)
            jobs.register(build_job.NAME, world.job.run)
            stack.push_async_callback(jobs.stop)
            return jobs

        yield make


def with_jobs(world: Building, jobs: Jobs) -> Building:
    return replace(world, hub=replace(world.hub, builds=replace(world.builds, jobs=jobs)))


async def over(hub: Hub, build_id: str) -> Any:
    async with asyncio.timeout(60):
        while not (build := await read_build(hub, build_id)).is_over:  # noqa: ASYNC110 - what a client sees
            await asyncio.sleep(0.05)
    return build


async def test_a_build_runs_on_a_worker_and_once_however_often_it_is_started(hub: Hub, make_jobs: MakeJobs) -> None:
    world, alice = building(hub), await join_hub(hub)
    jobs = make_jobs(world)
    await jobs.start(run_worker=True)
    world = with_jobs(world, jobs)
    build = await push_and_ask(world, alice)
    await asyncio.gather(*(world.builds.start(build) for _ in range(3)))
    assert (await over(hub, build.id)).state == "succeeded"
    await world.builds.start(build)
    await jobs.wait(build.id)
    assert len(world.builder.orders) == 1


async def test_the_next_worker_takes_over_what_one_was_building_when_it_stopped(hub: Hub, make_jobs: MakeJobs) -> None:
    began = asyncio.Event()

    async def hang_once(order: BuildOrder, _log: Log) -> None:
        assert not await asyncio.to_thread(lambda: any(order.workspace.iterdir()))
        if not began.is_set():
            began.set()
            await asyncio.Event().wait()

    world, alice = building(hub, script=hang_once), await join_hub(hub)
    first, second = make_jobs(world), make_jobs(world)
    await first.start(run_worker=True)
    build = await push_and_ask(with_jobs(world, first), alice)
    await asyncio.wait_for(began.wait(), 60)
    await first.stop()
    assert (await read_build(hub, build.id)).state == "running"
    await second.start(run_worker=True)
    ended = await over(hub, build.id)
    assert (ended.state, ended.attempts) == ("succeeded", 2)


async def test_upkeep_starts_what_was_forgotten_and_ends_what_was_lost(hub: Hub, make_jobs: MakeJobs) -> None:
    world, alice = building(hub), await join_hub(hub)
    jobs = make_jobs(world)
    await jobs.start(run_worker=True)
    # The hub's own jobs are another engine's here: as if its process had died before it told this one.
    build = await push_and_ask(
        replace(world, hub=replace(world.hub, builds=replace(world.builds, jobs=_Deaf()))), alice
    )
    upkeep = Upkeep(hub.database, jobs)
    assert await upkeep.run() == {"started": 0, "ended": 0}
    await set_build(hub, build.id, created_at=utc_now() - timedelta(minutes=5))
    assert await upkeep.run() == {"started": 1, "ended": 0}
    assert (await over(hub, build.id)).state == "succeeded"
    await jobs.wait(build.id)
    await set_build(hub, build.id, state="running", ended_at=None)
    assert await upkeep.run() == {"started": 0, "ended": 1}
    ended = await read_build(hub, build.id)
    assert (ended.state, ended.is_hubs_fault) == ("failed", True)


class _Deaf(Jobs):
    """Hears of no job."""

    def __init__(self) -> None:
        """Nothing to set up."""

    async def enqueue_once(self, name: str, job_id: str, /, **arguments: Any) -> None:
        """Gone with the process."""
