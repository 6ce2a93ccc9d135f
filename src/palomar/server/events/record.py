"""Writing events, in the transaction of what they speak of."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event

# Set per request by the web layer, per run by the job layer.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def record(
    session: AsyncSession,
    kind: EventKind,
    *,
    account_id: str | None = None,
    namespace_id: str | None = None,
    subject_id: str | None = None,
    **details: Any,
) -> None:
    """Adds an event to the running unit of work; ``details`` must hold no secret."""
    session.add(
        Event(
            kind=kind,
            account_id=account_id,
            namespace_id=namespace_id,
            subject_id=subject_id,
            request_id=request_id.get(),
            details=details,
        )
    )
