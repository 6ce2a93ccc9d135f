"""The life of a build in the database: asked for, begun, ended. Nothing here waits for a build or runs one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BuildOver, TooManyBuilds, TooManyVariants
from palomar.server.builds.models import Build, BuildSecret
from palomar.server.builds.rules import BuildRules
from palomar.server.builds.states import LIVE, BuildState, checked_step
from palomar.server.builds.values import BUILDAH, LAYERED, BaseChoice, BuildRequest, own_platform
from palomar.server.builds.variants import Variant, Versions
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.facts import storable_text
from palomar.server.executors.models import Executor, Release
from palomar.server.executors.resource import FoundExecutor

STOPPED: Final = "the hub stopped three times while building"
_DOCKERFILE_REASON: Final = "the package brings its own Dockerfile, and this hub builds none of those"
_DOCKERFILE_HINT: Final = (
    "Leave the Dockerfile out, or ask the hub's operator to set PALOMAR_DOCKERFILE_BUILDS=on and push again."
)
_EVENTS: Final = {
    BuildState.SUCCEEDED: EventKind.BUILD_SUCCEEDED,
    BuildState.FAILED: EventKind.BUILD_FAILED,
    BuildState.CANCELLED: EventKind.BUILD_CANCELLED,
}


@dataclass(frozen=True, slots=True)
class BuildEnd:
    """How a build ended. ``error`` is one sentence without its full stop's need for more; ``hint`` what to try."""

    state: BuildState
    error: str = ""
    hint: str = ""
    is_hubs_fault: bool = False


async def request_build(
    session: AsyncSession,
    found: FoundExecutor,
    release_id: str,
    wanted: BuildRequest,
    rules: BuildRules,
    base: BaseChoice,
) -> Build:
    """The build of the variant: one that waits or runs already, or a new one, which may be skipped at once.

    The release's row is locked: whoever asks for the same at the same time gets the same. Raises TooManyBuilds and
    TooManyVariants.
    """
    query = select(Release).where(Release.id == release_id).with_for_update()
    release = (await session.scalars(query.execution_options(populate_existing=True))).one()
    variant = choose_variant(release, wanted, base, first=await first_versions(session, release.id))
    live = await _live_build(session, release.id, variant.key)
    if live is not None:
        return live
    build = _new_build(release, variant, wanted)
    if variant.builder == BUILDAH and not rules.dockerfiles:
        _skip(build)
    else:
        await _check_limits(session, found, release.id, variant.key, rules)
    await _add(session, found, build, wanted)
    return build


def choose_variant(release: Release, wanted: BuildRequest, base: BaseChoice, *, first: Versions | None) -> Variant:
    versions = wanted.versions.or_else(first)
    if release.facts.get("dockerfile") is not None:
        return Variant(versions, (own_platform(),), "", BUILDAH)
    return Variant(versions, base.choose(wanted.platform or release.platform), base.digest, LAYERED)


async def first_versions(session: AsyncSession, release_id: str) -> Versions | None:
    """Those of its first build, which were its pusher's."""
    query = select(Build.jina, Build.docarray).where(Build.release_id == release_id)
    row = (await session.execute(query.order_by(Build.created_at, Build.id).limit(1))).first()
    return None if row is None else Versions(row.jina, row.docarray)


async def builds_of(session: AsyncSession, release_id: str) -> list[Build]:
    """Newest first."""
    query = select(Build).where(Build.release_id == release_id)
    return list(await session.scalars(query.order_by(Build.created_at.desc(), Build.id.desc())))


async def _live_build(session: AsyncSession, release_id: str, variant_key: str) -> Build | None:
    query = select(Build).where(Build.release_id == release_id, Build.variant_key == variant_key)
    build: Build | None = await session.scalar(query.where(Build.state.in_(LIVE)))
    return build


def _new_build(release: Release, variant: Variant, wanted: BuildRequest) -> Build:
    return Build(
        release_id=release.id,
        variant_key=variant.key,
        platform=variant.platform,
        jina=variant.versions.jina,
        docarray=variant.versions.docarray,
        base_digest=variant.base_digest,
        builder=variant.builder,
        no_cache=wanted.no_cache,
        state=BuildState.WAITING,
        requested_by=wanted.requested_by,
        created_at=utc_now(),
    )


def _skip(build: Build) -> None:
    build.state, build.ended_at = BuildState.SKIPPED, utc_now()
    build.error, build.hint = _DOCKERFILE_REASON, _DOCKERFILE_HINT


async def _check_limits(
    session: AsyncSession, found: FoundExecutor, release_id: str, variant_key: str, rules: BuildRules
) -> None:
    variants = set(await session.scalars(select(Build.variant_key).where(Build.release_id == release_id).distinct()))
    if variant_key not in variants and len(variants) >= rules.max_variants:
        raise TooManyVariants(found.shown_name, rules.max_variants)
    waiting = select(func.count()).select_from(Build).join(Release, Release.id == Build.release_id)
    waiting = waiting.join(Executor, Executor.id == Release.executor_id)
    waiting = waiting.where(Executor.namespace_id == found.namespace.id, Build.state == BuildState.WAITING)
    if int(await session.scalar(waiting) or 0) >= rules.max_waiting:
        raise TooManyBuilds(rules.max_waiting)


async def _add(session: AsyncSession, found: FoundExecutor, build: Build, wanted: BuildRequest) -> None:
    session.add(build)
    await session.flush()
    if wanted.build_env and not build.is_over:
        session.add(BuildSecret(build_id=build.id, values=dict(wanted.build_env)))
    record(
        session,
        EventKind.BUILD_REQUESTED,
        account_id=wanted.requested_by,
        namespace_id=found.namespace.id,
        subject_id=found.executor.id,
        build=build.id,
        state=build.state,
    )
    await session.flush()


async def locked_build(session: AsyncSession, build_id: str) -> Build | None:
    return await session.get(Build, build_id, with_for_update=True, populate_existing=True)


async def secrets_of(session: AsyncSession, build_id: str) -> dict[str, str]:
    row = await session.get(BuildSecret, build_id)
    return {} if row is None else dict(row.values)


def begin_run(build: Build, rules: BuildRules) -> BuildEnd | None:
    """One more run of a locked build. Says how it ends instead, when it must not run any more."""
    if build.cancel_requested:
        return BuildEnd(BuildState.CANCELLED)
    if build.attempts >= rules.max_attempts:
        hint = "Ask the hub's operator why; the release itself is stored, and can be built again."
        return BuildEnd(BuildState.FAILED, STOPPED, hint, is_hubs_fault=True)
    build.state = checked_step(build.state, BuildState.RUNNING)
    build.attempts += 1
    build.started_at = build.started_at or utc_now()
    return None


async def end_build(session: AsyncSession, found: FoundExecutor, build: Build, end: BuildEnd) -> None:
    """Of a locked build that is not over. What must not be kept goes in the same transaction."""
    build.state = checked_step(build.state, end.state)
    build.ended_at = utc_now()
    build.error, build.hint = storable_text(end.error)[:4000], storable_text(end.hint)[:2000]
    build.is_hubs_fault = end.is_hubs_fault
    await session.execute(delete(BuildSecret).where(BuildSecret.build_id == build.id))
    record(
        session,
        _EVENTS[end.state],
        namespace_id=found.namespace.id,
        subject_id=found.executor.id,
        build=build.id,
        jina=build.jina,
        docarray=build.docarray,
        error=build.error[:400],
    )


async def cancel_build(session: AsyncSession, found: FoundExecutor, build_id: str) -> Build:
    """One that waits is over at once; one that runs sees it within a second. Raises BuildOver."""
    build = await locked_build(session, build_id)
    if build is None or build.is_over:
        raise BuildOver("gone" if build is None else build.state)
    build.cancel_requested = True
    if build.state == BuildState.WAITING:
        await end_build(session, found, build, BuildEnd(BuildState.CANCELLED))
    return build


def may_be_retried(build: Build, rules: BuildRules) -> bool:
    """Whether somebody's wish for its image is reason enough to try again."""
    is_old = build.ended_at is not None and build.ended_at < utc_now() - timedelta(seconds=rules.retry_s)
    return build.is_hubs_fault and is_old
