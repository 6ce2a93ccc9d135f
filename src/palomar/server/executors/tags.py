"""Tags of an Executor: they move from release to release, unless they are protected.

The table itself refuses to move a protected tag (a trigger on either database, see the migration that makes it); the
check here, under the Executor's row lock, only finds the better words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from palomar.contract.errors import NotFound, TagProtected
from palomar.contract.names import Tag
from palomar.server.db.columns import utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.executors.models import Executor, Release, ReleaseTag

LATEST = Tag("latest")
# Facts can be long: readme, schema, names of files. A pull asks for none of them.
_LIGHT = (defer(Release.facts, raiseload=True),)


@dataclass(frozen=True, slots=True)
class WantedTags:
    """What a push asks for. No tag at all means 'latest'; with any, 'latest' moves only when it is named."""

    plain: tuple[Tag, ...] = ()
    protected: tuple[Tag, ...] = ()

    @property
    def names(self) -> tuple[Tag, ...]:
        """All, each once; those that are to be protected last."""
        return tuple(dict.fromkeys((*self.plain, *self.protected))) or (LATEST,)


async def check_tags(
    session: AsyncSession, executor: Executor, names: Sequence[Tag], *, shown_name: str, to: Release | None = None
) -> None:
    """Raises TagProtected for the first one that must not move; one that points where it shall already need not."""
    query = select(ReleaseTag.name).where(
        ReleaseTag.executor_id == executor.id, ReleaseTag.name.in_(names), ReleaseTag.is_protected.is_(True)
    )
    if to is not None:
        query = query.where(ReleaseTag.release_id != to.id)
    name = await session.scalar(query.order_by(ReleaseTag.name).limit(1))
    if name is not None:
        raise TagProtected(shown_name, name)


async def move_tags(session: AsyncSession, release: Release, wanted: WantedTags, *, shown_name: str) -> None:
    """In one transaction with `check_tags`, under the lock of the Executor's row.

    Raises TagProtected when a writer without that lock was faster: the table has the last word.
    """
    await insert_missing(session, ReleaseTag, [_new_row(release, name) for name in wanted.names])
    mine = update(ReleaseTag).where(ReleaseTag.executor_id == release.executor_id)
    for name in wanted.names:
        elsewhere = mine.where(ReleaseTag.name == name, ReleaseTag.release_id != release.id)
        with protected_stays(shown_name, name):
            await session.execute(elsewhere.values(release_id=release.id, moved_at=utc_now()))
    if wanted.protected:
        await session.execute(mine.where(ReleaseTag.name.in_(wanted.protected)).values(is_protected=True))


def _new_row(release: Release, name: Tag) -> dict[str, object]:
    return {
        "executor_id": release.executor_id,
        "name": name,
        "release_id": release.id,
        "is_protected": False,
        "moved_at": utc_now(),
    }


@contextmanager
def protected_stays(shown_name: str, name: str) -> Iterator[None]:
    """Puts the table's own refusal to move or delete a protected tag into words."""
    try:
        yield
    except IntegrityError:
        raise TagProtected(shown_name, name) from None


async def tagged_release(
    session: AsyncSession, executor: Executor, tag: str | None, *, asked_name: str, with_facts: bool = True
) -> Release:
    """The release of a tag; without one, of 'latest', or the newest where nothing bears that.

    Raises NotFound. ``with_facts`` False leaves out what was read from the package.
    """
    options = () if with_facts else _LIGHT
    wanted = tag or LATEST
    query = select(Release).join(ReleaseTag, ReleaseTag.release_id == Release.id)
    query = query.where(ReleaseTag.executor_id == executor.id, ReleaseTag.name == wanted, Release.purged_at.is_(None))
    release = await session.scalar(query.options(*options))
    if release is None and tag is None:
        release = await newest_release(session, executor, with_facts=with_facts)
    if release is None:
        raise NotFound("Executor", f"{asked_name}:{wanted}")
    return release


async def newest_release(session: AsyncSession, executor: Executor, *, with_facts: bool = True) -> Release | None:
    query = select(Release).where(Release.executor_id == executor.id, Release.purged_at.is_(None))
    options = () if with_facts else _LIGHT
    found: Release | None = await session.scalar(query.order_by(Release.number.desc()).limit(1).options(*options))
    return found


async def tags_of(session: AsyncSession, release_ids: Sequence[str]) -> dict[str, list[ReleaseTag]]:
    """By release, in the order of their names."""
    query = select(ReleaseTag).where(ReleaseTag.release_id.in_(release_ids)).order_by(ReleaseTag.name)
    found: dict[str, list[ReleaseTag]] = {}
    for tag in await session.scalars(query):
        found.setdefault(tag.release_id, []).append(tag)
    return found
