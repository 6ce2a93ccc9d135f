"""Content discovery (distribution-spec 1.1): tags, referrers, and the repositories that a caller may see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, case, collate, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter
from palomar.contract.images import LEGACY_ON_THE_WIRE, ImageDigest
from palomar.server.access.policy import Subject
from palomar.server.access.visible import visible
from palomar.server.db.columns import can_be_stored
from palomar.server.executors.models import Executor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow
from palomar.server.registry.find import FoundRepository
from palomar.server.registry.models import ImageManifest, Repository, TagRow
from palomar.server.registry.values import Descriptor, ReferrerPage, TagPage

# distribution-spec 1.1, end-12a: a list that is larger than a manifest may be (4 MiB, with room for what surrounds it)
# goes in pages.
_MAX_PAGE_BYTES: Final = (4 << 20) - 4096
# What a descriptor has besides what is in its manifest: names of properties, a media type of up to 255 bytes.
_DESCRIPTOR_BYTES: Final = 512
_MOST_REFERRERS: Final = _MAX_PAGE_BYTES // _DESCRIPTOR_BYTES
_PUSH_ORDER: Final = (ImageManifest.created_at, ImageManifest.digest)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# Of microseconds since 1970: longer ones lie beyond the years that a database knows.
_MOMENT: Final = re.compile(r"[0-9]{1,17}", re.ASCII)


async def list_tags(
    session: AsyncSession, repository: FoundRepository, limit: int | None = None, last: str | None = None
) -> TagPage:
    """In the order of their bytes, those after ``last``, which need not exist. A limit of 0 gives none of them."""
    query = select(TagRow.name).where(TagRow.repository_id == repository.id).order_by(TagRow.name)
    if last is not None:
        query = query.where(TagRow.name > _cursor(last))
    if limit is not None:
        query = query.limit(limit + 1)
    return _page(list((await session.scalars(query)).all()), limit)


def _cursor(last: str) -> str:
    """A client's text as a database takes it: no name has a NUL, so what follows one makes no difference."""
    return last.partition("\0")[0].encode(errors="replace").decode()


def _page(names: list[str], limit: int | None) -> TagPage:
    """Of one name more than was asked for. "n=0" has no next page: it would be the same one again."""
    if limit is None or len(names) <= limit:
        return TagPage(names, has_more=False)
    return TagPage(names[:limit], has_more=limit > 0)


async def list_referrers(
    session: AsyncSession,
    repository: FoundRepository,
    digest: ImageDigest,
    artifact_type: str | None = None,
    *,
    limit: int | None = None,
    last: str | None = None,
) -> ReferrerPage:
    """Descriptors of the manifests whose subject has this digest, in the order in which they were pushed.

    The subject itself need not exist, or not yet. ``last`` is what the page before gave as ``next``; raises
    BadParameter for other texts. No page is larger than a manifest may be, even without a limit.
    """
    if artifact_type is not None and not can_be_stored(artifact_type):
        return ReferrerPage([], next=None)
    query = select(ImageManifest.id, ImageManifest.digest, ImageManifest.created_at, ImageManifest.size_bytes)
    query = query.where(ImageManifest.repository_id == repository.id, ImageManifest.subject_digest == digest)
    if artifact_type is not None:
        query = query.where(ImageManifest.artifact_type == artifact_type)
    if last is not None:
        query = query.where(_pushed_after(last))
    most = _MOST_REFERRERS if limit is None else min(limit, _MOST_REFERRERS)
    found = (await session.execute(query.order_by(*_PUSH_ORDER).limit(most + 1))).all()
    page = _fitting(found[:most])
    has_more = 0 < len(page) < len(found)
    return ReferrerPage(await _descriptors(session, page), next=_place(page[-1]) if has_more else None)


def _fitting(found: Sequence[Row[*tuple[Any, ...]]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """As many from the first on as make no page that is too large, but one at least.

    A descriptor has nothing of any length that its manifest has not, so annotations that will not be shown need not be
    loaded to find how long they are.
    """
    sizes = accumulate(row.size_bytes + _DESCRIPTOR_BYTES for row in found)
    return found[: max(1, sum(size <= _MAX_PAGE_BYTES for size in sizes))]


async def _descriptors(session: AsyncSession, page: Sequence[Row[*tuple[Any, ...]]]) -> list[dict[str, Any]]:
    columns = (
        ImageManifest.media_type,
        ImageManifest.digest,
        ImageManifest.size_bytes,
        ImageManifest.artifact_type,
        ImageManifest.annotations,
    )
    query = select(*columns).where(ImageManifest.id.in_([row.id for row in page]))
    return [
        Descriptor(
            row.media_type,
            ImageDigest(row.digest),
            row.size_bytes,
            annotations=row.annotations,
            artifact_type=row.artifact_type,
        ).as_json()
        for row in await session.execute(query.order_by(*_PUSH_ORDER))
    ]


def _place(row: Row[*tuple[Any, ...]]) -> str:
    """Where a page ended, in a form that still holds when this very manifest is gone."""
    return f"{(row.created_at - _EPOCH) // _MICROSECOND}-{row.digest}"


def _pushed_after(place: str) -> ColumnElement[bool]:
    """Raises BadParameter for what `_place` cannot have made."""
    moment, _, digest = place.partition("-")
    if not _MOMENT.fullmatch(moment):
        raise BadParameter("last", "it is not from the Link of a page of referrers")
    created_at = _EPOCH + int(moment) * _MICROSECOND
    is_later_of_a_moment = and_(ImageManifest.created_at == created_at, ImageManifest.digest > _cursor(digest))
    return or_(ImageManifest.created_at > created_at, is_later_of_a_moment)


class _Shown:
    """Repositories as `visible` reads them: an Executor's are as visible as it is."""

    namespace_id = Repository.namespace_id
    visibility = func.coalesce(Executor.visibility, Repository.visibility)
    owner_id = Executor.owner_id
    deleted_at = Executor.deleted_at


async def list_repositories(
    session: AsyncSession, subject: Subject, limit: int | None = None, last: str | None = None
) -> TagPage:
    """The names that ``subject`` may read, paged as tags are. The operator's base images are nobody's and unnamed."""
    name = _shown_name(session)
    joined = select(name).select_from(Repository).outerjoin(Executor, Executor.id == Repository.executor_id)
    query = visible(joined, _Shown, subject)
    query = query.where(or_(NamespaceRow.name == LEGACY_NAMESPACE, ~NamespaceRow.name.startswith("_", autoescape=True)))
    if last is not None:
        query = query.where(name > _cursor(last))
    if limit is not None:
        query = query.limit(limit + 1)
    return _page(list((await session.scalars(query.order_by(name))).all()), limit)


def _shown_name(session: AsyncSession) -> ColumnElement[str]:
    """Namespace and path as the wire has them, compared and ordered by their bytes."""
    namespace = case((NamespaceRow.name == LEGACY_NAMESPACE, LEGACY_ON_THE_WIRE), else_=NamespaceRow.name)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    return collate(namespace + "/" + Repository.path, "BINARY" if is_sqlite else "C")
