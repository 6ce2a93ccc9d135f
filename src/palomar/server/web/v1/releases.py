"""``/executors/{namespace}/{name}/releases``: what was pushed, what changed, and the package itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import RedirectResponse, Response

from palomar.contract import v1_executors
from palomar.packages.compatibility import compare
from palomar.server.accounts.models import Account as AccountRow
from palomar.server.executors.facts import schema_in
from palomar.server.executors.listing import list_releases
from palomar.server.executors.manage import numbered_release
from palomar.server.executors.models import Release
from palomar.server.executors.resource import FoundExecutor
from palomar.server.executors.tags import tags_of
from palomar.server.web.address import base_url
from palomar.server.web.download import package_url
from palomar.server.web.v1 import executor_shapes as shapes
from palomar.server.web.v1.arrays import Cursor, Limit
from palomar.server.web.v1.calls import Anyone, NativeRoute, from_cursor, to_cursor
from palomar.server.web.v1.executor_finding import find_executor
from palomar.server.web.v1.executors import EXECUTOR

router = APIRouter(route_class=NativeRoute, tags=["releases"])

Number = Annotated[int, Path(ge=1, lt=2**31)]
Asked = Annotated[int, Query(ge=1, lt=2**31)]

RELEASE = EXECUTOR + "/releases/{number}"


@router.get(EXECUTOR + "/releases")
async def get_releases(
    call: Anyone, namespace: str, name: str, limit: Limit = 50, cursor: Cursor = None
) -> v1_executors.ReleasePage:
    """The newest first. Releases whose package was given up after a deletion are not listed."""
    before = None if cursor is None else from_cursor(cursor, int)[0]
    async with call.hub.database.read() as session:
        found = await find_executor(session, call.subject, namespace, name)
        listed = await list_releases(session, found, before=before, limit=limit)
        rows = await _rows(session, found, listed[:limit])
    more = to_cursor(rows[-1].release) if len(listed) > limit else None
    return v1_executors.ReleasePage(releases=rows, next_cursor=more)


@router.get(RELEASE)
async def get_release(
    call: Anyone, namespace: str, name: str, number: Number, *, readme: bool = False
) -> v1_executors.ReleaseDetail:
    """What was read from its package. With `readme=true`, its readme and Dockerfile too."""
    async with call.hub.database.read() as session:
        found = await find_executor(session, call.subject, namespace, name)
        release = await numbered_release(session, found, number)
        (row,) = await _rows(session, found, [release])
    return shapes.release_detail(row, release.facts, with_texts=readme)


@router.get(
    RELEASE + "/package",
    response_model=v1_executors.PackageUrl,
    responses={307: {"description": "To the URL that opens the package"}},
)
async def get_package(
    call: Anyone, namespace: str, name: str, number: Number, *, redirect: bool = True
) -> v1_executors.PackageUrl | Response:
    """The zip as it was pushed; with `redirect=false` its URL, which needs no credential for a while."""
    async with call.hub.database.read() as session:
        found = await find_executor(session, call.subject, namespace, name)
        release = await numbered_release(session, found, number)
    settings = call.hub.settings
    url = package_url(call.hub, base_url(call.request, settings), release.id)
    if redirect:
        return RedirectResponse(url, 307)
    return v1_executors.PackageUrl(
        url=url,
        package_bytes=release.package_bytes,
        md5=release.md5,
        digest=release.digest,
        expires_in_s=settings.download_url_ttl_s,
    )


@router.get(EXECUTOR + "/compare")
async def compare_releases(call: Anyone, namespace: str, name: str, old: Asked, new: Asked) -> v1_executors.Comparison:
    """What changed in arguments and endpoints between two releases, and whether it breaks who uses them."""
    async with call.hub.database.read() as session:
        found = await find_executor(session, call.subject, namespace, name)
        before = await numbered_release(session, found, old)
        after = await numbered_release(session, found, new)
    return shapes.comparison(before, after, compare(schema_in(before.facts), schema_in(after.facts)))


async def _rows(
    session: AsyncSession, found: FoundExecutor, releases: Sequence[Release]
) -> list[v1_executors.ReleaseRow]:
    tags = await tags_of(session, [release.id for release in releases])
    names = await _account_names(session, {release.pushed_by for release in releases})
    return [
        shapes.release_row(found, release, tags.get(release.id, []), names.get(release.pushed_by))
        for release in releases
    ]


async def _account_names(session: AsyncSession, ids: set[str | None]) -> dict[str | None, str]:
    query = select(AccountRow.id, AccountRow.name).where(AccountRow.id.in_(filter(None, ids)))
    return {row.id: row.name for row in await session.execute(query)}
