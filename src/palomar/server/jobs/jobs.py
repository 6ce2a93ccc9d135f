"""Durable background work: jobs by name, run by any worker, taken up again when their worker dies.

This package knows no domain. ``wiring`` registers handlers and schedules, then starts it; a process without a worker
still enqueues and asks.

A handler is a coroutine function. It runs as a task of the event loop that called ``start``, because the hub's database
engine and locks belong to that loop; the engine's own threads only wait for it. It may be run again after a crash, and
in rare cases (a worker cut off from PostgreSQL) while another run of it still goes on, so it must be repeatable and
must bear company.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from dbos import DBOSClient, WorkflowStatus

from palomar.server.events.record import request_id
from palomar.server.jobs import engine
from palomar.server.jobs.engine import QueueLimits, Workflow
from palomar.server.jobs.liveness import Liveness, liveness_of, new_worker_id
from palomar.server.jobs.schedule import Schedule

log = structlog.get_logger("palomar.jobs")

# How often a worker looks for jobs of dead workers, and at least for schedules that are due.
_ROUND_S: Final = 30.0
_POLL_S: Final = 1.0
_PRUNED_AT_ONCE: Final = 500

Handler = Callable[..., Awaitable[Any]]


class JobState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES: Final = {
    "DELAYED": JobState.WAITING,
    "ENQUEUED": JobState.WAITING,
    "PENDING": JobState.RUNNING,
    "SUCCESS": JobState.DONE,
    "CANCELLED": JobState.CANCELLED,
}
_OVER: Final = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of one job. ``result`` is what the handler returned, ``error`` what it raised, in words."""

    id: str
    name: str
    state: JobState
    created_at: datetime
    result: Any = None
    error: str | None = None

    @property
    def is_over(self) -> bool:
        return self.state in {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class Jobs:
    """The jobs of one hub. Register and schedule first, then start."""

    def __init__(self, database_url: str, *, locks: Path, poll_s: float = _POLL_S, round_s: float = _ROUND_S) -> None:
        """``locks`` is a folder for the locks of workers; it is not used with PostgreSQL."""
        self._url = engine.engine_url(database_url)
        self._poll_s = poll_s
        self._round_s = round_s
        self._liveness: Liveness = liveness_of(self._url, locks)
        self._worker_id = new_worker_id()
        self._handlers: dict[str, Handler] = {}
        self._queues: dict[str, QueueLimits] = {}
        self._schedules: list[Schedule] = []
        self._running: set[asyncio.Task[Any]] = set()
        self._client: DBOSClient | None = None
        self._connecting = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rounds: asyncio.Task[None] | None = None

    def register(self, name: str, handler: Handler, *, at_once: int = 1, poll_s: float | None = None) -> None:
        """``handler`` gets what ``enqueue`` was given. At most ``at_once`` of this name run in the whole cluster.

        Workers look for jobs of this name every ``poll_s``: less than usual where somebody waits for them.
        """
        if name in self._handlers:
            raise ValueError(f"the job {name!r} is registered already")
        self._handlers[name] = handler
        self._queues[name] = QueueLimits(at_once, min(self._poll_s, poll_s or self._poll_s))

    def schedule(self, name: str, *, every_s: int) -> None:
        """One run in every slot of ``every_s`` seconds, whatever the number of replicas; the first one at the start.

        A run that is due while the one before still waits or runs is left out.
        """
        self._check_name(name)
        self._schedules.append(Schedule(name, every_s))

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self, *, run_worker: bool) -> None:
        """With a worker, jobs are run in this process; without, they are only enqueued, and nothing is done yet."""
        self._loop = asyncio.get_running_loop()
        if run_worker:
            await self._connected()
            await self._liveness.claim(self._worker_id)
            workflows = {name: self._workflow(name) for name in self._handlers}
            await asyncio.to_thread(engine.launch, self._url, self._worker_id, workflows)
            self._rounds = asyncio.create_task(self._go_round())

    async def stop(self) -> None:
        """What runs is cancelled and run again from its beginning, here or elsewhere, once a worker sees it."""
        if self._rounds is not None:
            self._rounds.cancel()
            with suppress(asyncio.CancelledError):
                await self._rounds
            self._rounds = None
            await asyncio.to_thread(engine.shut_down)
        await self._end_handlers()
        await self._liveness.close()
        if self._client is not None:
            await asyncio.to_thread(self._client.destroy)
            self._client = None

    async def _end_handlers(self) -> None:
        """They use the hub's database, which is closed next."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- use -----------------------------------------------------------------------------------------------------

    async def enqueue(self, name: str, /, **arguments: Any) -> str:
        """The id of a new job, durable on return. ``arguments`` must be JSON."""
        self._check_name(name)
        job_id = uuid4().hex
        client = await self._connected()
        return await asyncio.to_thread(engine.enqueue, client, name, job_id, arguments, only_one=False)

    async def enqueue_once(self, name: str, job_id: str, /, **arguments: Any) -> None:
        """As ``enqueue``, under an id of the caller's: whoever asks again for the same job starts no second one."""
        self._check_name(name)
        client = await self._connected()
        await asyncio.to_thread(engine.enqueue, client, name, job_id, arguments, only_one=False)

    async def find(self, job_id: str) -> Job | None:
        """The job as it stands."""
        found = await (await self._connected()).list_workflows_async(workflow_ids=[job_id])
        return _job(found[0]) if found else None

    async def wait(self, job_id: str) -> Job:
        """The job when it is over. Raises LookupError when there is none."""
        while True:
            job = await self.find(job_id)
            if job is None:
                raise LookupError(f"there is no job {job_id!r}")
            if job.is_over:
                return job
            await asyncio.sleep(self._poll_s)

    async def latest(self, name: str, *, limit: int = 20) -> list[Job]:
        """The newest jobs of a name, the newest first."""
        found = await (await self._connected()).list_workflows_async(name=name, limit=limit, sort_desc=True)
        return [_job(status) for status in found]

    async def prune(self, *, older_than: timedelta, batch: int = _PRUNED_AT_ONCE) -> int:
        """Forgets the jobs that were over before; the number of them. What waits or runs is never touched."""
        client = await self._connected()
        before = (datetime.now(UTC) - older_than).isoformat()
        pruned = 0
        while over := await client.list_workflows_async(
            status=list(_OVER), completed_before=before, limit=batch, load_input=False, load_output=False
        ):
            await client.delete_workflows_async([status.workflow_id for status in over])
            pruned += len(over)
        return pruned

    async def _connected(self) -> DBOSClient:
        if self._loop is None:
            raise RuntimeError("the jobs have not been started")
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(self._connect)
        return self._client

    def _connect(self) -> DBOSClient:
        engine.prepare(self._url)
        client = engine.connect(self._url)
        engine.declare_queues(client, self._queues)
        return client

    def _check_name(self, name: str) -> None:
        if name not in self._handlers:
            raise LookupError(f"no handler is registered for the job {name!r}")

    # --- running -------------------------------------------------------------------------------------------------

    def _workflow(self, name: str) -> Workflow:
        """What the engine calls, in a loop of its own: it waits while the handler runs in the hub's."""

        async def workflow(**arguments: Any) -> Any:
            assert self._loop is not None  # noqa: S101 -- set before the engine is launched
            run = self._run(name, engine.current_job_id(), arguments)
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run, self._loop))

        return workflow

    async def _run(self, name: str, job_id: str, arguments: dict[str, Any]) -> Any:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- it is always run as a task
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        request_id.set(job_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(job=name, job_id=job_id)
        try:
            return await self._handlers[name](**arguments)
        except Exception:
            log.exception("job failed")
            raise

    # --- rounds --------------------------------------------------------------------------------------------------

    async def _go_round(self) -> None:
        while True:
            try:
                await self._liveness.claim(self._worker_id)
                await self._take_over()
                await self._start_due()
            except Exception:
                # The database is away, for instance; the next round tries again.
                log.exception("a round of the jobs failed")
            now = time.time()
            await asyncio.sleep(min([self._round_s, *(schedule.next_s(now) for schedule in self._schedules)]))

    async def _start_due(self) -> None:
        now = time.time()
        for schedule in self._schedules:
            run_id = schedule.due(now)
            if run_id is not None:
                client = await self._connected()
                await asyncio.to_thread(engine.enqueue, client, schedule.name, run_id, {}, only_one=True)
                schedule.started(now)

    async def _take_over(self) -> None:
        """Put the jobs of dead workers back into their queues."""
        workers = {status.executor_id for status in await self._pending()}
        for worker_id in workers - {None, self._worker_id}:
            async with self._liveness.bury(str(worker_id)) as is_dead:
                if is_dead:
                    await self._requeue(str(worker_id))

    async def _requeue(self, worker_id: str) -> None:
        for status in await self._pending(worker_id):
            log.warning("job taken over", job=status.name, job_id=status.workflow_id, worker_id=worker_id)
            await (await self._connected()).resume_workflow_async(status.workflow_id, queue_name=status.queue_name)

    async def _pending(self, worker_id: str | None = None) -> list[WorkflowStatus]:
        return await (await self._connected()).list_workflows_async(
            status="PENDING", executor_id=worker_id, name=list(self._handlers), load_input=False, load_output=False
        )


def _job(status: WorkflowStatus) -> Job:
    return Job(
        id=status.workflow_id,
        name=status.name,
        state=_STATES.get(status.status, JobState.FAILED),
        created_at=datetime.fromtimestamp((status.created_at or 0) / 1000, UTC),
        result=status.output,
        error=None if status.error is None else str(status.error),
    )
