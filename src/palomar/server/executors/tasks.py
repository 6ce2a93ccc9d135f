"""What a push went through, line by line, kept for ``jina hub status`` and its replay.

The lines are those that the client was shown; they hold no secret and no value of a build environment variable.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import NotFound
from palomar.server.access.policy import Subject
from palomar.server.db.columns import new_id, utc_now
from palomar.server.executors.facts import storable, storable_text
from palomar.server.executors.models import Executor, PushTask, TaskState
from palomar.server.executors.resource import FoundExecutor

_MAX_LINES = 10_000


@dataclass(slots=True)
class TaskLog:
    """The lines of one push, with the milliseconds since its beginning."""

    id: str = field(default_factory=new_id)
    lines: list[dict[str, Any]] = field(default_factory=list)
    _started_s: float = field(default_factory=time.monotonic)

    def add(self, kind: str, subject: str, payload: str = "") -> dict[str, Any]:
        """The line as the client reads it."""
        line = {"type": kind, "subject": subject, "payload": payload}
        if len(self.lines) < _MAX_LINES:
            self.lines.append({**line, "ms": int((time.monotonic() - self._started_s) * 1000)})
        return line


def record_task(
    session: AsyncSession,
    log: TaskLog,
    *,
    account_id: str | None,
    executor_id: str | None,
    release_id: str | None = None,
    error: str = "",
) -> None:
    """Once, at the end of a push."""
    session.add(
        PushTask(
            id=log.id,
            executor_id=executor_id,
            account_id=account_id,
            release_id=release_id,
            state=TaskState.FAILED if error else TaskState.SUCCEEDED,
            lines=storable(log.lines),
            error=storable_text(error[:4000]),
            ended_at=utc_now(),
        )
    )


async def list_tasks(session: AsyncSession, subject: Subject, found: FoundExecutor, *, limit: int) -> list[PushTask]:
    """Newest first, of the caller's own Executor."""
    query = select(PushTask).where(PushTask.executor_id == found.executor.id)
    query = query.where(PushTask.account_id == subject.account_id)
    return list(await session.scalars(query.order_by(PushTask.created_at.desc(), PushTask.id.desc()).limit(limit)))


async def find_task(session: AsyncSession, subject: Subject, task_id: str) -> PushTask:
    """A task is nobody's business but its pusher's. Raises NotFound."""
    task = await session.get(PushTask, task_id)
    if task is None or subject.is_anonymous or task.account_id != subject.account_id:
        raise NotFound("task", task_id)
    return task


async def executor_of(session: AsyncSession, task: PushTask) -> Executor | None:
    return None if task.executor_id is None else await session.get(Executor, task.executor_id)
