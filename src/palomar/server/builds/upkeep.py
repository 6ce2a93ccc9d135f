"""What keeps builds honest: none is forgotten, none hangs for ever, and none outlives its release."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.builds import job
from palomar.server.builds.bases.finding import list_bases
from palomar.server.builds.bases.rootfs import remove_unused
from palomar.server.builds.kept_locks import prune_locks
from palomar.server.builds.layer_cache import prune_layers
from palomar.server.builds.models import Build, BuildLine, BuildSecret
from palomar.server.builds.service import BuildEnd, end_build, locked_build
from palomar.server.builds.states import LIVE, BuildState
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.executors.find import by_row_id
from palomar.server.executors.models import Release
from palomar.server.jobs.jobs import Jobs

# A build this young may still be on its way to the engine.
_YOUNG: Final = timedelta(seconds=30)
_BATCH: Final = 100
_LOST: Final = BuildEnd(
    BuildState.FAILED,
    "the hub lost it while building",
    "The release itself is stored, and can be built again.",
    is_hubs_fault=True,
)


@dataclass(frozen=True, slots=True)
class Upkeep:
    database: Database
    jobs: Jobs

    async def run(self) -> dict[str, Any]:
        """Every live build has a job that waits or runs; one whose job ended without a word has failed."""
        started = ended = 0
        for build_id in await self._live():
            found = await self.jobs.find(build_id)
            if found is None:
                await self.jobs.enqueue_once(job.NAME, build_id, build_id=build_id)
                started += 1
            elif found.is_over:
                ended += await self._end(build_id)
        return {"started": started, "ended": ended}

    async def _live(self) -> list[str]:
        old = Build.created_at < utc_now() - _YOUNG
        async with self.database.read() as session:
            return list(await session.scalars(select(Build.id).where(Build.state.in_(LIVE), old)))

    async def _end(self, build_id: str) -> bool:
        async with self.database.write() as session:
            build = await locked_build(session, build_id)
            if build is None or build.is_over:
                return False
            release = await session.get_one(Release, build.release_id)
            found = await by_row_id(session, release.executor_id)
            assert found is not None  # noqa: S101 -- a foreign key holds it
            await end_build(session, found, build, _LOST)
        return True


async def purge_builds(database: Database) -> int:
    """Builds of releases whose package was given up, with what they said. Returns how many."""
    purged = 0
    while count := await _purge_batch(database):
        purged += count
    return purged


async def _purge_batch(database: Database) -> int:
    async with database.write() as session:
        query = select(Build.id).join(Release, Release.id == Build.release_id)
        ids = list(await session.scalars(query.where(Release.purged_at.is_not(None)).limit(_BATCH)))
        await _delete(session, ids)
    return len(ids)


async def _delete(session: AsyncSession, ids: list[str]) -> None:
    for table in (BuildLine, BuildSecret):
        await session.execute(delete(table).where(table.build_id.in_(ids)))
    await session.execute(delete(Build).where(Build.id.in_(ids)))


async def prune_kept(database: Database, roots: Path) -> dict[str, int]:
    """What builds keep for one another and nobody has used for long; ``roots`` is where bases are unpacked to."""
    async with database.read() as session:
        bases = await list_bases(session)
    in_use = {str(platform.manifest.digest) for base in bases for platform in base.platforms}
    return {
        "kept_locks": await prune_locks(database),
        "kept_layers": await prune_layers(database),
        "unpacked_bases": await asyncio.to_thread(remove_unused, roots, keep=in_use),
    }
