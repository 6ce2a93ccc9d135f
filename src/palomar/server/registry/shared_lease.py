"""One blob lease for all uploads of this process that are at work at about the same time.

A push of a hundred small layers would otherwise write a hundred leases and remove them again, each with the disk's own
wait. A lease is shared by those who come within half a minute, so it holds collection back for hardly longer than the
longest of them would by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from palomar.server.blobs.leases import Lease, hold_lease
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database

_SHARED_FOR = timedelta(seconds=30)
_IDLE_S = 2.0


@dataclass(slots=True)
class _Held:
    lease: Lease
    stack: AsyncExitStack
    users: int = 0


class SharedLease:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._current: _Held | None = None
        self._ending: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Lease]:
        held = await self._take()
        try:
            yield held.lease
        finally:
            held.users -= 1
            if held.users == 0:
                await asyncio.shield(self._let_go(held))

    async def close(self) -> None:
        """When nobody holds it any more; before the database closes."""
        async with self._lock:
            held, self._current = self._current, None
            if held is not None:
                await held.stack.aclose()
        if self._ending is not None:
            self._ending.cancel()
            await asyncio.wait([self._ending])

    async def _take(self) -> _Held:
        async with self._lock:
            if self._current is None or utc_now() - self._current.lease.started_at > _SHARED_FOR:
                await self._replace()
            held = self._current
            assert held is not None  # noqa: S101 - it was made here
            held.users += 1
            return held

    async def _replace(self) -> None:
        stack = AsyncExitStack()
        lease = await stack.enter_async_context(hold_lease(self._database))
        before, self._current = self._current, _Held(lease, stack)
        if before is not None and before.users == 0:
            await before.stack.aclose()

    async def _let_go(self, held: _Held) -> None:
        if held is not self._current:
            await held.stack.aclose()
        elif self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._end_when_idle())

    async def _end_when_idle(self) -> None:
        """A lease that nobody needs must not hold collection back."""
        while True:
            await asyncio.sleep(_IDLE_S)
            async with self._lock:
                held = self._current
                if held is not None and held.users > 0:
                    continue
                if held is not None:
                    self._current = None
                    await held.stack.aclose()
                return
