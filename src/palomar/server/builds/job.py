"""The job that builds: begun, watched and ended here; what it is about is all in the database.

It gets the build's id alone. It may be killed anywhere and is run again from its beginning, and two runs of one build
may go on at once: whichever ends first says how it ended, and the other one's image is a tag less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import NameTaken, PalomarError, StorageFull
from palomar.contract.images import ImageDigest, ImageTag, image_path
from palomar.contract.names import ResourceName
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.builds.builder import Builder, BuildFailure, BuildOrder, BuiltImage
from palomar.server.builds.log import BuildLog
from palomar.server.builds.metrics import ENDED, SECONDS
from palomar.server.builds.models import Build
from palomar.server.builds.rules import BuildRules
from palomar.server.builds.service import BuildEnd, begin_run, end_build, locked_build, secrets_of
from palomar.server.builds.states import BuildState
from palomar.server.builds.tags import immutable_tag, sync_image_tags
from palomar.server.builds.variants import Variant, Versions
from palomar.server.builds.workspace import workspace
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.executors.find import by_row_id
from palomar.server.executors.models import Executor, Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.registry.writer import ImageWriter

log = structlog.get_logger("palomar.builds")

NAME: Final = "build"
_WATCH_S: Final = 0.5
_HUBS_FAULT: Final = BuildEnd(
    BuildState.FAILED,
    "the hub made a mistake",
    "Tell its operator, whose log says more; the release itself is stored.",
    is_hubs_fault=True,
)


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a build: the rows as it found them."""

    build: Build
    found: FoundExecutor
    release: Release
    package: StoredBytes
    repository_id: str
    build_env: Mapping[str, str] = field(repr=False)


class _Unwanted(Exception):
    """Somebody cancelled the build, or deleted what it is for."""


@dataclass(frozen=True, slots=True)
class BuildJob:
    database: Database
    store: BlobStore
    writer: ImageWriter
    rules: BuildRules
    builders: Mapping[str, Builder]
    folder: Path

    async def run(self, build_id: str) -> dict[str, Any]:
        """The state that the build is in afterwards."""
        run = await self._begin(build_id)
        if run is None:
            return await self._told(build_id)
        build_log = BuildLog(self.database, build_id, secrets=run.build_env.values())
        async with build_log:
            end, image = await self._attempt(run, build_log)
        await self._end(run, end, image)
        return await self._told(build_id)

    # --- begin -------------------------------------------------------------------------------------------------------

    async def _begin(self, build_id: str) -> _Run | None:
        async with self.database.write() as session:
            build = await locked_build(session, build_id)
            if build is None or build.is_over:
                return None
            release = await session.get_one(Release, build.release_id)
            found = await by_row_id(session, release.executor_id)
            assert found is not None  # noqa: S101 -- a foreign key holds it
            end = _unwanted_end(release, found) or begin_run(build, self.rules)
            if end is not None:
                await end_build(session, found, build, end)
                _count(build)
                return None
            return await self._run_of(session, build, release, found)

    async def _run_of(self, session: AsyncSession, build: Build, release: Release, found: FoundExecutor) -> _Run:
        blob = await session.get_one(BlobRow, release.package_id)
        build.repository_id = await self._repository(session, found)
        stored = StoredBytes(blob.key, blob.stored_bytes, blob.stored_digest)
        return _Run(build, found, release, stored, build.repository_id, await secrets_of(session, build.id))

    async def _repository(self, session: AsyncSession, found: FoundExecutor) -> str:
        """Of its own name, if no other Executor had that before and left its images there."""
        executor, ensure = found.executor, self.writer.ensure_repository
        own = {"namespace_id": found.namespace.id, "executor_id": executor.id}
        if found.is_legacy:
            return await ensure(session, path=executor.short_id, **own)
        try:
            return await ensure(session, path=image_path(ResourceName(executor.name), executor.short_id), **own)
        except NameTaken:
            return await ensure(session, path=f"x-{executor.short_id}", **own)

    # --- build -------------------------------------------------------------------------------------------------------

    async def _attempt(self, run: _Run, build_log: BuildLog) -> tuple[BuildEnd, BuiltImage | None]:
        try:
            image = await self._build(run, build_log)
        except BuildFailure as failure:
            end = BuildEnd(
                BuildState.FAILED,
                build_log.mask(failure.sentence),
                build_log.mask(failure.hint),
                is_hubs_fault=failure.is_hubs_fault,
            )
        except _Unwanted:
            end = BuildEnd(BuildState.CANCELLED)
        except PalomarError as error:
            end = _refused(error)
        except Exception:
            log.exception("build failed", build_id=run.build.id)
            end = _HUBS_FAULT
        else:
            return BuildEnd(BuildState.SUCCEEDED), image
        build_log(f"{end.state}: {end.error}" if end.error else end.state)
        return end, None

    async def _build(self, run: _Run, build_log: BuildLog) -> BuiltImage:
        builder = self.builders.get(run.build.builder)
        if builder is None:
            reason = f"this hub has no {run.build.builder} builder"
            raise BuildFailure(reason, "Ask its operator to add a base image.", is_hubs_fault=True)
        async with workspace(self.folder) as place:
            order = _order(run, place)
            await self._fetch(run, order.package)
            order.workspace.mkdir()
            try:
                async with asyncio.timeout(self.rules.timeout_s) as limit:
                    return await self._watched(builder, order, build_log)
            except TimeoutError:
                if not limit.expired():
                    raise
                reason = f"it took longer than the {self.rules.timeout_s:,} seconds that this hub allows"
                hint = "Need fewer or smaller dependencies, or ask the operator to raise PALOMAR_BUILD_TIMEOUT_S."
                raise BuildFailure(reason, hint, is_hubs_fault=True) from None

    async def _fetch(self, run: _Run, target: Path) -> None:
        with target.open("wb") as file:
            async with aclosing(stream_verified(self.store, run.package)) as blocks:
                async for block in blocks:
                    await asyncio.to_thread(file.write, block)

    async def _watched(self, builder: Builder, order: BuildOrder, build_log: BuildLog) -> BuiltImage:
        """Looks now and then whether anybody still wants it; leaves no process behind, however it is left."""
        building = asyncio.create_task(builder.build(order, build_log))
        try:
            while not (await asyncio.wait({building}, timeout=_WATCH_S))[0]:
                if await self._is_unwanted(order.build_id):
                    raise _Unwanted
            return building.result()
        finally:
            building.cancel()
            await asyncio.gather(building, return_exceptions=True)

    async def _is_unwanted(self, build_id: str) -> bool:
        """Also when another run has ended it, or nobody can have the Executor any more."""
        query = select(Build.cancel_requested, Build.state, Executor.deleted_at, NamespaceRow.retired_at)
        query = query.join(Release, Release.id == Build.release_id).join(Executor, Executor.id == Release.executor_id)
        query = query.join(NamespaceRow, NamespaceRow.id == Executor.namespace_id).where(Build.id == build_id)
        async with self.database.read() as session:
            row = (await session.execute(query)).first()
        if row is None or row.cancel_requested or BuildState(row.state).is_over:
            return True
        return row.deleted_at is not None or row.retired_at is not None

    # --- end ---------------------------------------------------------------------------------------------------------

    async def _end(self, run: _Run, end: BuildEnd, image: BuiltImage | None) -> None:
        """The image gets its tags in the transaction that ends the build."""
        async with self.database.write() as session:
            build = await locked_build(session, run.build.id)
            if build is None or build.is_over:
                return
            await end_build(session, run.found, build, end)
            if image is not None:
                await self._publish(session, run, build, image)
            _count(build)

    async def _publish(self, session: AsyncSession, run: _Run, build: Build, image: BuiltImage) -> None:
        digest = ImageDigest(image.manifest_digest)
        tag = ImageTag(immutable_tag(run.release.number, digest))
        build.manifest_digest, build.image_tag = digest, tag
        await session.flush()
        await self.writer.set_tag(session, run.repository_id, tag, digest, protected=True)
        await sync_image_tags(session, run.found.executor.id)

    async def _told(self, build_id: str) -> dict[str, Any]:
        async with self.database.read() as session:
            build = await session.get(Build, build_id)
        return {"state": "gone" if build is None else build.state}


def _order(run: _Run, place: Path) -> BuildOrder:
    build = run.build
    versions = Versions(build.jina, build.docarray)
    return BuildOrder(
        build_id=build.id,
        repository_id=run.repository_id,
        name=run.found.shown_name,
        release=run.release.number,
        release_digest=run.release.digest,
        facts=run.release.facts,
        variant=Variant(versions, tuple(build.platform.split(",")), build.base_digest, build.builder),
        package=place / "package.zip",
        workspace=place / "work",
        no_cache=build.no_cache,
        build_env=run.build_env,
    )


def _unwanted_end(release: Release, found: FoundExecutor) -> BuildEnd | None:
    if found.is_deleted or release.purged_at is not None:
        return BuildEnd(BuildState.CANCELLED)
    return None


def _refused(error: PalomarError) -> BuildEnd:
    """Of the registry or the store: a quota is the namespace's matter, a full disk the hub's."""
    detail = "the hub's disk is full" if isinstance(error, StorageFull) else error.detail.rstrip(".")
    return BuildEnd(BuildState.FAILED, detail, is_hubs_fault=True)


def _count(build: Build) -> None:
    ENDED.labels(build.builder, build.state).inc()
    if build.started_at is not None:
        SECONDS.labels(build.builder).observe((utc_now() - build.started_at).total_seconds())
