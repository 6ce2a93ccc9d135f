"""A build for the access matrix: one that waits, and that nobody runs."""

from __future__ import annotations

from palomar.server.builds.values import BuildRequest
from palomar.server.executors.find import by_row_id
from palomar.server.executors.models import Release
from palomar.server.executors.values import ExecutorReceipt
from palomar.server.wiring import Hub
from tests.factories.builds import building


async def make_build(hub: Hub, receipt: ExecutorReceipt) -> str:
    """Its id."""
    async with hub.database.write() as session:
        found = await by_row_id(session, receipt.executor_id)
        assert found is not None
        release = await session.get_one(Release, receipt.release_id)
        return (await building(hub).builds.request(session, found, release, BuildRequest())).id
