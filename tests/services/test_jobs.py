"""Jobs on the real engine, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from palomar.server.jobs.jobs import Job, Jobs, JobState
from palomar.server.jobs.liveness import Liveness, liveness_of, new_worker_id

MakeJobs = Callable[[], Jobs]


@pytest.fixture
def jobs_url(database_url: str, tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'jobs.sqlite'}" if database_url.startswith("sqlite") else database_url


@pytest.fixture
async def make_jobs(jobs_url: str, tmp_path: Path) -> AsyncIterator[MakeJobs]:
    """Jobs on one database, as replicas have them; all stopped in the end."""
    async with AsyncExitStack() as stack:

        def make() -> Jobs:
            jobs = Jobs(jobs_url, locks=tmp_path / "workers", poll_s=0.05, round_s=0.05)
            stack.push_async_callback(jobs.stop)
            return jobs

        yield make


async def finished(jobs: Jobs, job_id: str) -> Job:
    async with asyncio.timeout(60):
        return await jobs.wait(job_id)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the conditions are plain values
            await asyncio.sleep(0.01)


async def test_a_job_gets_its_arguments_and_keeps_its_result(make_jobs: MakeJobs):
    jobs = make_jobs()

    async def add(left: int, right: int) -> dict[str, int]:
        return {"sum": left + right}

    jobs.register("add", add)
    await jobs.start(run_worker=True)
    job = await finished(jobs, await jobs.enqueue("add", left=1, right=2))
    assert (job.name, job.state, job.result, job.error) == ("add", JobState.DONE, {"sum": 3}, None)
    assert [found.id for found in await jobs.latest("add")] == [job.id]


async def test_a_handler_runs_in_the_loop_that_started_the_jobs(make_jobs: MakeJobs):
    jobs = make_jobs()
    loops = []

    async def note() -> None:
        loops.append(asyncio.get_running_loop())

    jobs.register("note", note)
    await jobs.start(run_worker=True)
    await finished(jobs, await jobs.enqueue("note"))
    assert loops == [asyncio.get_running_loop()]


async def test_a_failed_job_says_why(make_jobs: MakeJobs):
    jobs = make_jobs()

    async def fail() -> None:
        raise RuntimeError("the moon is in the wrong phase")

    jobs.register("fail", fail)
    await jobs.start(run_worker=True)
    job = await finished(jobs, await jobs.enqueue("fail"))
    assert (job.state, job.result) == (JobState.FAILED, None)
    assert "the moon is in the wrong phase" in (job.error or "")


async def test_a_process_without_worker_enqueues_for_the_others(make_jobs: MakeJobs):
    async def run() -> str:
        return "done"

    web, worker = make_jobs(), make_jobs()
    for jobs in (web, worker):
        jobs.register("run", run)
    await web.start(run_worker=False)
    job_id = await web.enqueue("run")
    waiting = await web.find(job_id)
    assert waiting is not None
    assert waiting.state is JobState.WAITING
    await worker.start(run_worker=True)
    assert (await finished(web, job_id)).result == "done"


async def test_jobs_of_one_name_take_turns(make_jobs: MakeJobs):
    jobs = make_jobs()
    running, most = 0, 0

    async def run() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1

    jobs.register("run", run)
    await jobs.start(run_worker=True)
    for job_id in [await jobs.enqueue("run") for _ in range(4)]:
        assert (await finished(jobs, job_id)).state is JobState.DONE
    assert most == 1


async def test_an_interrupted_job_is_run_again_by_the_next_worker(make_jobs: MakeJobs):
    began = 0

    async def run() -> str:
        nonlocal began
        began += 1
        if began == 1:
            await asyncio.Event().wait()
        return "the second time"

    first, second = make_jobs(), make_jobs()
    for jobs in (first, second):
        jobs.register("run", run)
    await first.start(run_worker=True)
    job_id = await first.enqueue("run")
    await until(lambda: began == 1)
    await first.stop()
    await second.start(run_worker=True)
    assert (await finished(second, job_id)).result == "the second time"
    assert began == 2


async def test_a_schedule_runs_once_for_each_slot_whatever_the_restarts(make_jobs: MakeJobs):
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    for _ in range(2):
        jobs = make_jobs()
        jobs.register("run", run)
        # One slot since 1970, so that the test cannot meet the end of one.
        jobs.schedule("run", every_s=10**10)
        await jobs.start(run_worker=True)
        await jobs._start_due()
        await until(lambda: runs)
        other = await jobs.enqueue("run")
        await finished(jobs, other)
        await jobs.stop()
    assert runs == 3


async def test_a_schedule_starts_again_in_every_slot(make_jobs: MakeJobs):
    jobs = make_jobs()
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    jobs.register("run", run)
    jobs.schedule("run", every_s=1)
    await jobs.start(run_worker=True)
    await until(lambda: runs >= 2)


async def test_unknown_jobs_are_refused(make_jobs: MakeJobs):
    jobs = make_jobs()
    with pytest.raises(LookupError, match="no handler"):
        jobs.schedule("nothing", every_s=1)
    await jobs.start(run_worker=False)
    with pytest.raises(LookupError, match="no handler"):
        await jobs.enqueue("nothing")
    assert await jobs.find("nothing") is None
    with pytest.raises(LookupError, match="no job"):
        await jobs.wait("nothing")


async def test_a_name_has_one_handler(make_jobs: MakeJobs):
    jobs = make_jobs()

    async def run() -> None: ...

    jobs.register("run", run)
    with pytest.raises(ValueError, match="registered already"):
        jobs.register("run", run)


class TestLiveness:
    @pytest.fixture
    def make_liveness(self, jobs_url: str, tmp_path: Path) -> Callable[[], Liveness]:
        return lambda: liveness_of(jobs_url, tmp_path / "workers")

    async def test_a_worker_lives_until_it_lets_go(self, make_liveness: Callable[[], Liveness]):
        worker, other = make_liveness(), make_liveness()
        worker_id = new_worker_id()
        await worker.claim(worker_id)
        async with other.bury(worker_id) as is_dead:
            assert not is_dead
        await worker.close()
        async with other.bury(worker_id) as is_dead:
            assert is_dead

    async def test_one_at_a_time_buries(self, make_liveness: Callable[[], Liveness]):
        worker_id = new_worker_id()
        async with make_liveness().bury(worker_id) as first, make_liveness().bury(worker_id) as second:
            assert (first, second) == (True, False)
        async with make_liveness().bury(worker_id) as again:
            assert again

    async def test_claiming_again_changes_nothing(self, make_liveness: Callable[[], Liveness]):
        worker, worker_id = make_liveness(), new_worker_id()
        await worker.claim(worker_id)
        await worker.claim(worker_id)
        await worker.close()
        async with make_liveness().bury(worker_id) as is_dead:
            assert is_dead


KILLED_WORKER = """
import asyncio, pathlib, sys
from palomar.server.jobs.jobs import Jobs

async def hang():
    print("began", flush=True)
    await asyncio.Event().wait()

async def main(url, locks):
    jobs = Jobs(url, locks=pathlib.Path(locks), poll_s=0.05)
    jobs.register("run", hang)
    await jobs.start(run_worker=True)
    print(await jobs.enqueue("run"), flush=True)
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_job_of_a_killed_worker_is_taken_over(make_jobs: MakeJobs, jobs_url: str, tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_WORKER, jobs_url, str(tmp_path / "workers"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = {(await process.stdout.readline()).decode().strip() for _ in range(2)}
    finally:
        process.kill()
        await process.wait()
    assert "began" in said
    (job_id,) = said - {"began"}

    async def run() -> str:
        return "taken over"

    jobs = make_jobs()
    jobs.register("run", run)
    await jobs.start(run_worker=True)
    assert (await finished(jobs, job_id)).result == "taken over"


async def test_only_jobs_that_are_over_are_pruned(make_jobs: MakeJobs):
    jobs = make_jobs()
    goes_on = asyncio.Event()

    async def wait(number: int) -> int:
        if number == 0:
            await goes_on.wait()
        return number

    jobs.register("wait", wait, at_once=4)
    await jobs.start(run_worker=True)
    running, *over = [await jobs.enqueue("wait", number=number) for number in range(4)]
    for job_id in over:
        await finished(jobs, job_id)
    assert await jobs.prune(older_than=timedelta(days=1)) == 0
    assert await jobs.prune(older_than=timedelta(0), batch=2) == 3
    assert [job.id for job in await jobs.latest("wait")] == [running]
    goes_on.set()
    assert (await finished(jobs, running)).result == 0
