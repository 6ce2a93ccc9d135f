"""Builds as the adapters use them: ask for one, watch it, cancel it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import ImageNotBuilt, NotFound
from palomar.server.builds import job
from palomar.server.builds.log import Progress, follow
from palomar.server.builds.models import Build
from palomar.server.builds.rules import BuildRules
from palomar.server.builds.service import cancel_build, request_build
from palomar.server.builds.states import BuildState
from palomar.server.builds.tags import sync_image_tags
from palomar.server.builds.values import BaseChoice, BuildRequest
from palomar.server.db.engine import Database
from palomar.server.executors.find import by_row_id
from palomar.server.executors.models import Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.jobs.jobs import Jobs

log = structlog.get_logger("palomar.builds")

OFF_REASON = "this hub builds no images"
OFF_ADVICE = "Use the source, as jinaai://, or ask the hub's operator to add a base image (palomar admin base-add)."

FindBase: TypeAlias = Callable[[AsyncSession], Awaitable[BaseChoice | None]]


@dataclass(frozen=True, slots=True)
class Builds:
    """One per hub. ``find_base`` gives what new images stand on, or None while there is nothing."""

    database: Database
    jobs: Jobs
    rules: BuildRules
    find_base: FindBase

    async def after_push(self, executor_id: str, release_id: str, wanted: BuildRequest) -> Build | None:
        """The build of a release that was just pushed; None where the hub builds no images.

        Raises TooManyBuilds: the release is stored, and whoever wants its image later asks for it.
        """
        async with self.database.write() as session:
            await sync_image_tags(session, executor_id)
            base = await self._base(session)
            found = await by_row_id(session, executor_id)
            if base is None or found is None:
                return None
            build = await request_build(session, found, release_id, wanted, self.rules, base)
        try:
            await self.start(build)
        except Exception:
            # The release is stored, and so is the wish for its image: `Upkeep` starts it in a minute.
            log.exception("build not started yet", build_id=build.id)
        return build

    async def request(
        self, session: AsyncSession, found: FoundExecutor, release: Release, wanted: BuildRequest
    ) -> Build:
        """One more build, or the one that waits or runs; call `start` after the commit. Raises ImageNotBuilt."""
        base = await self._base(session)
        if base is None:
            raise ImageNotBuilt(found.shown_name, OFF_REASON, OFF_ADVICE)
        return await request_build(session, found, release.id, wanted, self.rules, base)

    async def start(self, build: Build) -> None:
        """After the commit. Where this is not reached, or asked for twice, `Upkeep` and the engine know better."""
        if build.state == BuildState.WAITING:
            await self.jobs.enqueue_once(job.NAME, build.id, build_id=build.id)

    async def cancel(self, session: AsyncSession, found: FoundExecutor, release: Release, build_id: str) -> Build:
        """Raises NotFound and BuildOver."""
        build = await find_build(session, found, release, build_id)
        return await cancel_build(session, found, build.id)

    def follow(self, build_id: str, *, after: int = 0) -> AsyncIterator[Progress]:
        """What it says, until it is over, whichever process it runs in."""
        return follow(self.database, build_id, after=after)

    async def _base(self, session: AsyncSession) -> BaseChoice | None:
        return await self.find_base(session) if self.rules.is_on else None


async def find_build(session: AsyncSession, found: FoundExecutor, release: Release, build_id: str) -> Build:
    """One of the release's own. Raises NotFound."""
    build = await session.get(Build, build_id)
    if build is None or build.release_id != release.id:
        raise NotFound("build", f"{found.shown_name}@{release.number}/{build_id}")
    return build


async def first_builds(session: AsyncSession, release_ids: Collection[str]) -> dict[str, Build]:
    """By release, the one that its push waited for."""
    query = select(Build).where(Build.release_id.in_(release_ids)).order_by(Build.created_at.desc(), Build.id.desc())
    # The oldest comes last, and stays.
    return {build.release_id: build for build in await session.scalars(query)}
