"""Waiting for the decision on a login: the database tells, since the browser may have spoken to another replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from palomar.contract.errors import Busy
from palomar.server.accounts.models import LoginRequest, LoginStatus
from palomar.server.db.engine import Database

log = structlog.get_logger("palomar.accounts")

_POLL_EVERY_S = 0.5
# Each holds a connection open for minutes; beyond this somebody is playing.
_MAX_WAITING = 500


class LoginWatch:
    """One query for all open streams of this process, twice a second, and none while nobody waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[str, asyncio.Event] = {}
        self._polling: asyncio.Task[None] | None = None
        self.is_closed = False

    @contextmanager
    def watch(self, request_id: str) -> Iterator[asyncio.Event]:
        """The event is set when the request is decided, and when the hub shuts down. Raises Busy."""
        if len(self._waiting) >= _MAX_WAITING or self.is_closed:
            raise Busy("Too many logins are open")
        event = self._waiting[request_id] = asyncio.Event()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield event
        finally:
            del self._waiting[request_id]

    def hasten(self, request_id: str) -> None:
        """Decided in this very process: no need to wait for the next look."""
        if request_id in self._waiting:
            self._waiting[request_id].set()

    async def close(self) -> None:
        """Ends every wait, so that open streams do not hold up a shutdown."""
        self.is_closed = True
        for event in self._waiting.values():
            event.set()
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _poll(self) -> None:
        while self._waiting:
            try:
                await self._look()
            except SQLAlchemyError:
                log.warning("logins not looked up", waiting=len(self._waiting), exc_info=True)
            await asyncio.sleep(_POLL_EVERY_S)

    async def _look(self) -> None:
        query = select(LoginRequest.id).where(
            LoginRequest.id.in_(list(self._waiting)), LoginRequest.status != LoginStatus.PENDING
        )
        async with self._database.read() as session:
            decided = (await session.scalars(query)).all()
        for request_id in decided:
            self.hasten(request_id)
