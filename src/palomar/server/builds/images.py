"""Which image a caller gets: one that never moves and that its own jina and docarray can talk to.

It is built when it is first asked for by somebody who may read the Executor; the call waits for it, up to a bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import ImageBuildFailed, ImageBuilding, ImageNotBuilt
from palomar.contract.images import LEGACY_ON_THE_WIRE
from palomar.server.builds.builds import Builds
from palomar.server.builds.models import Build
from palomar.server.builds.service import builds_of, may_be_retried
from palomar.server.builds.states import BuildState
from palomar.server.builds.values import BuildRequest
from palomar.server.builds.variants import AskedVersions, Versions
from palomar.server.executors.models import Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.registry.models import Repository

_POLL_S: Final = 0.3
_NO_SECRET: Final = (
    "it opens with a secret, which no container engine can send",
    "Use its source, or ask its owner to push it anew as namespace/name.",
)


@dataclass(frozen=True, slots=True)
class WantedImage:
    """``any_versions``: the caller does not run it itself, and takes what its pusher's build made."""

    versions: AskedVersions
    any_versions: bool = False
    platform: str | None = None
    account_id: str | None = None


class ImageName(NamedTuple):
    """Without the host: how the hub is reached is the adapter's matter."""

    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


async def find_image(builds: Builds, found: FoundExecutor, release_id: str, wanted: WantedImage) -> ImageName:
    """Of an Executor that the caller may read.

    Raises ImageBuilding when the wait is over and the build is not, ImageBuildFailed, ImageNotBuilt, TooManyBuilds and
    TooManyVariants.
    """
    if found.executor.secret_hash is not None:
        raise ImageNotBuilt(found.shown_name, *_NO_SECRET)
    build = await _existing(builds, found, release_id, wanted) or await _ask_for(builds, found, release_id, wanted)
    build = await _waited_for(builds, build)
    if build.state != BuildState.SUCCEEDED:
        raise _no_image(found, build)
    return await _name(builds, found, build)


async def _existing(builds: Builds, found: FoundExecutor, release_id: str, wanted: WantedImage) -> Build | None:
    """The best that there is: an image, a build that will make one, or the reason why there is none."""
    async with builds.database.read() as session:
        all_builds = await builds_of(session, release_id)
        release = await session.get_one(Release, release_id)
    suitable = _suitable(all_builds, wanted)
    images = [build for build in suitable if build.state == BuildState.SUCCEEDED]
    if images:
        return next((one for one in images if wanted.platform in one.platform.split(",")), images[0])
    if suitable and not _is_worth_a_try(suitable[0], builds):
        return suitable[0]
    if all_builds and release.build_env_names:
        raise _needs_values(found, release, all_builds)
    return None


def _suitable(all_builds: Sequence[Build], wanted: WantedImage) -> list[Build]:
    """Newest first. Whatever base they stand on: an image that exists is not made again because a newer base does."""
    if not all_builds:
        return []
    first = all_builds[-1]
    asked = Versions(first.jina, first.docarray)
    if not wanted.any_versions:
        asked = wanted.versions.or_else(asked)
    same = [build for build in all_builds if (build.jina, build.docarray) == asked]
    made = [build for build in all_builds if build.state == BuildState.SUCCEEDED]
    return made if wanted.any_versions and made else same


def _is_worth_a_try(build: Build, builds: Builds) -> bool:
    """What was skipped is decided anew: the operator may have changed their mind."""
    return build.state == BuildState.SKIPPED or may_be_retried(build, builds.rules)


async def _ask_for(builds: Builds, found: FoundExecutor, release_id: str, wanted: WantedImage) -> Build:
    request = BuildRequest(versions=wanted.versions, requested_by=wanted.account_id)
    async with builds.database.write() as session:
        release = await session.get_one(Release, release_id)
        if release.build_env_names:
            raise _needs_values(found, release, [])
        build = await builds.request(session, found, release, request)
    await builds.start(build)
    return build


async def _waited_for(builds: Builds, build: Build) -> Build:
    """The build when it is over, or as it stands when the wait is."""
    deadline = time.monotonic() + builds.rules.wait_s
    while not build.is_over and time.monotonic() < deadline:
        await asyncio.sleep(_POLL_S)
        async with builds.database.read() as session:
            build = await session.get_one(Build, build.id)
    return build


async def _name(builds: Builds, found: FoundExecutor, build: Build) -> ImageName:
    async with builds.database.read() as session:
        return ImageName(await repository_name(session, found, build), build.image_tag or "")


async def repository_name(session: AsyncSession, found: FoundExecutor, build: Build) -> str:
    """As clients write it, without the host."""
    repository = await session.get(Repository, build.repository_id)
    namespace = LEGACY_ON_THE_WIRE if found.is_legacy else found.namespace.name
    return f"{namespace}/{repository.path if repository else ''}"


def _no_image(found: FoundExecutor, build: Build) -> Exception:
    name = found.shown_name
    match build.state:
        case BuildState.SKIPPED:
            return ImageNotBuilt(name, build.error, build.hint)
        case BuildState.FAILED:
            return ImageBuildFailed(name, f"{build.error.rstrip('.')}.", build.hint)
        case BuildState.CANCELLED:
            return ImageBuildFailed(name, "its build was cancelled.", "Its owner can push it again.")
        case _:
            since = (build.started_at or build.created_at).strftime("%H:%M:%S UTC")
            return ImageBuilding(name, since, build.state)


def _needs_values(found: FoundExecutor, release: Release, all_builds: Sequence[Build]) -> ImageNotBuilt:
    """Values of ``--build-env`` are not kept, so only a push can bring them."""
    names = ", ".join(release.build_env_names)
    made = sorted({f"jina {one.jina} with docarray {one.docarray}" for one in all_builds if one.image_tag})
    there = f"Use {' or '.join(made)}, for which there is an image, or ask" if made else "Ask"
    reason = f"its build needs {names}, whose values the hub does not keep"
    return ImageNotBuilt(found.shown_name, reason, f"{there} its owner to push it again from your versions.")
