"""``/executors/{namespace}/{name}/releases/{number}/builds``: images of a release, how they were made, and again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import StreamingResponse

from palomar.contract import v1_builds
from palomar.contract.actions import Action
from palomar.contract.errors import BadParameter, ImageNotBuilt
from palomar.server.access.policy import Subject
from palomar.server.builds.builds import find_build
from palomar.server.builds.images import repository_name
from palomar.server.builds.log import read_lines
from palomar.server.builds.models import Build, BuildLine
from palomar.server.builds.service import builds_of
from palomar.server.builds.values import BuildRequest
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.manage import numbered_release
from palomar.server.executors.models import Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.web.v1.calls import Account, Anyone, Call, NativeRoute
from palomar.server.web.v1.executor_finding import find_executor
from palomar.server.web.v1.releases import RELEASE, Number
from palomar.server.wiring import Hub

router = APIRouter(route_class=NativeRoute, tags=["builds"])

BuildId = Annotated[str, Path(max_length=64)]
_BUILDS = RELEASE + "/builds"
_BUILD = _BUILDS + "/{build_id}"
_NDJSON = "application/x-ndjson"


@router.get(_BUILDS)
async def list_builds(call: Anyone, namespace: str, name: str, number: Number) -> v1_builds.BuildList:
    """Every build of the release, the newest first: one for each pair of jina and docarray that somebody asked for."""
    async with call.hub.database.read() as session:
        found, release = await _release(session, call.subject, namespace, name, number)
        rows = [await _row(session, found, build) for build in await builds_of(session, release.id)]
    return v1_builds.BuildList(builds=rows)


@router.post(_BUILDS, status_code=202)
async def build_again(
    call: Account, namespace: str, name: str, number: Number, order: v1_builds.BuildOrder
) -> v1_builds.BuildRow:
    """Builds the release's image once more, or for other versions. One that waits or runs already is given back.

    A release that was pushed with --build-env needs another push: the hub keeps none of those values.
    """
    wanted = BuildRequest(
        versions=_versions(order),
        no_cache=order.no_cache,
        platform=order.platform,
        requested_by=call.subject.account_id,
    )
    async with call.hub.database.write() as session:
        found, release = await _release(session, call.subject, namespace, name, number)
        found.require(call.subject, Action.EXECUTOR_UPDATE, f"{namespace}/{name}")
        if release.build_env_names:
            names = ", ".join(release.build_env_names)
            reason = f"its build needs {names}, whose values the hub does not keep"
            raise ImageNotBuilt(found.shown_name, reason, "Push it again.")
        build = await call.hub.builds.request(session, found, release, wanted)
        row = await _row(session, found, build)
    await call.hub.builds.start(build)
    return row


@router.get(_BUILD)
async def get_build(call: Anyone, namespace: str, name: str, number: Number, build_id: BuildId) -> v1_builds.BuildRow:
    """One build as it stands."""
    async with call.hub.database.read() as session:
        found, build = await _build(session, call.subject, namespace, name, number, build_id)
        return await _row(session, found, build)


@router.get(
    _BUILD + "/log",
    response_model=v1_builds.LogLine,
    responses={200: {"description": "NDJSON: a LogLine each, and a LogEnd", "content": {_NDJSON: {}}}},
)
async def get_build_log(
    call: Anyone,
    namespace: str,
    name: str,
    number: Number,
    build_id: BuildId,
    after: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    *,
    follow: bool = True,
) -> StreamingResponse:
    """The lines behind number `after`. With `follow` they come as they are written, until the build is over.

    An empty line now and then says that the connection lives.
    """
    async with call.hub.database.read() as session:
        found, build = await _build(session, call.subject, namespace, name, number, build_id)
    lines = _followed(call, found, build, after) if follow else _written(call, found, build, after)
    return StreamingResponse(lines, media_type=_NDJSON)


@router.post(_BUILD + "/cancel")
async def cancel_build(
    call: Account, namespace: str, name: str, number: Number, build_id: BuildId
) -> v1_builds.BuildRow:
    """One that waits is over at once; one that runs stops within a second or two."""
    async with call.hub.database.write() as session:
        found, release = await _release(session, call.subject, namespace, name, number)
        found.require(call.subject, Action.EXECUTOR_UPDATE, f"{namespace}/{name}")
        return await _row(session, found, await call.hub.builds.cancel(session, found, release, build_id))


async def _release(
    session: AsyncSession, subject: Subject, namespace: str, name: str, number: int
) -> tuple[FoundExecutor, Release]:
    found = await find_executor(session, subject, namespace, name)
    return found, await numbered_release(session, found, number)


async def _build(
    session: AsyncSession, subject: Subject, namespace: str, name: str, number: int, build_id: str
) -> tuple[FoundExecutor, Build]:
    found, release = await _release(session, subject, namespace, name, number)
    return found, await find_build(session, found, release, build_id)


def _versions(order: v1_builds.BuildOrder) -> AskedVersions:
    """What an old client sends along may be ignored; what somebody writes here may not."""
    asked = AskedVersions.of(jina=order.jina, docarray=order.docarray)
    for name in ("jina", "docarray"):
        if getattr(order, name) is not None and getattr(asked, name) is None:
            raise BadParameter(name, "it must be a plain version, such as 3.34.0")
    return asked


# --- what is given -------------------------------------------------------------------------------------------------


async def _row(session: AsyncSession, found: FoundExecutor, build: Build) -> v1_builds.BuildRow:
    image = None
    if build.image_tag is not None:
        image = f"{await repository_name(session, found, build)}:{build.image_tag}"
    return v1_builds.BuildRow(
        id=build.id,
        state=v1_builds.State(build.state),
        jina=build.jina,
        docarray=build.docarray,
        platform=build.platform,
        builder=build.builder,
        no_cache=build.no_cache,
        image=image,
        manifest_digest=build.manifest_digest,
        error=build.error,
        hint=build.hint,
        is_hubs_fault=build.is_hubs_fault,
        attempts=build.attempts,
        log_lines=build.log_lines,
        created_at=build.created_at,
        started_at=build.started_at,
        ended_at=build.ended_at,
    )


async def _followed(call: Call, found: FoundExecutor, build: Build, after: int) -> AsyncIterator[bytes]:
    silent = 0
    async for progress in call.hub.builds.follow(build.id, after=after):
        build = progress.build
        silent = 0 if progress.lines else silent + 1
        if silent % _LOOKS_PER_SIGN == _LOOKS_PER_SIGN - 1:
            yield b"\n"
        for line in progress.lines:
            yield _line(line)
    yield await _end(call.hub, found, build)


# About ten seconds.
_LOOKS_PER_SIGN = 33


async def _written(call: Call, found: FoundExecutor, build: Build, after: int) -> AsyncIterator[bytes]:
    while lines := await _read(call.hub, build, after):
        for line in lines:
            yield _line(line)
        after = lines[-1].number
    yield await _end(call.hub, found, build)


async def _read(hub: Hub, build: Build, after: int) -> list[BuildLine]:
    async with hub.database.read() as session:
        return await read_lines(session, build.id, after=after)


def _line(line: BuildLine) -> bytes:
    shown = v1_builds.LogLine(number=line.number, at_ms=line.at_ms, text=line.text)
    return shown.model_dump_json().encode() + b"\n"


async def _end(hub: Hub, found: FoundExecutor, build: Build) -> bytes:
    async with hub.database.read() as session:
        row = await _row(session, found, build)
    return v1_builds.LogEnd(build=row).model_dump_json().encode() + b"\n"
