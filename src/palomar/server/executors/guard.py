"""The contract of a tag line: what a push under a tag must not break for those who already use it.

A tag that is protected, or that names a version line ('v2', '2.1', 'v2.1.3'), promises something. A push under such a
tag is compared with the newest release of the same line. What breaks its users is a warning in the push's stream, and
a refusal where the namespace says so.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BreakingChange
from palomar.packages.compatibility import Change, compare
from palomar.packages.schema import ExecutorSchema
from palomar.server.executors.facts import schema_in
from palomar.server.executors.models import Release, ReleaseTag
from palomar.server.executors.resource import FoundExecutor
from palomar.server.executors.tags import WantedTags

_VERSION = re.compile(r"v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?", re.ASCII)


class Line(NamedTuple):
    """A major version: v2, v2.1 and v2.1.3 all promise what v2 promises. Before 1.0 the minor number takes its part."""

    major: int
    minor: int | None


def line_of(tag: str) -> Line | None:
    match = _VERSION.fullmatch(tag)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2] or 0)
    return Line(major, minor if major == 0 else None)


async def check_contract(
    session: AsyncSession, found: FoundExecutor, wanted: WantedTags, schema: ExecutorSchema
) -> tuple[Change, ...]:
    """Breaking changes against what the tags promise; raises BreakingChange where the namespace refuses them."""
    previous = await _promised_release(session, found, wanted)
    if previous is None:
        return ()
    old = schema_in(previous.facts)
    breaking = tuple(change for change in compare(old, schema) if change.breaking)
    if breaking and found.namespace.refuse_breaking:
        raise BreakingChange(found.shown_name, previous.number, [change.words for change in breaking])
    return breaking


async def _promised_release(session: AsyncSession, found: FoundExecutor, wanted: WantedTags) -> Release | None:
    """The newest release that bears a tag of one of the wanted lines, or one that is to be protected."""
    lines = {line for tag in wanted.names if (line := line_of(tag)) is not None}
    query = select(ReleaseTag.name, Release.id).join(Release, Release.id == ReleaseTag.release_id)
    query = query.where(ReleaseTag.executor_id == found.executor.id, Release.purged_at.is_(None))
    rows = (await session.execute(query.order_by(Release.number.desc()))).all()
    names: set[str] = set(wanted.protected)
    release_id = next((row.id for row in rows if row.name in names or line_of(row.name) in lines), None)
    return None if release_id is None else await session.get(Release, release_id)
