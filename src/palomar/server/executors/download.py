"""From a reference to the release that a pull downloads: asked before every pull, so mostly in one prepared SELECT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, bindparam, select
from sqlalchemy.orm import aliased

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import ResourcePath, Tag
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.db.engine import Database
from palomar.server.executors.find import find_readable
from palomar.server.executors.models import Executor, Release, ReleaseTag
from palomar.server.executors.resource import KIND
from palomar.server.executors.tags import LATEST, tagged_release, tags_of
from palomar.server.namespaces.models import NamespaceRow


class PackageDownload(NamedTuple):
    """``tags`` are the release's, in the order of their names."""

    executor_id: str
    short_id: str
    name: str
    namespace: str
    visibility: Visibility
    release_id: str
    md5: str
    build_env_names: Sequence[str]
    tags: Sequence[str]


_Wanted = aliased(ReleaseTag)
_Borne = aliased(ReleaseTag)
# A row for each tag of the wanted release: hardly ever more than a few.
_BY_PATH = (
    select(
        Executor.id.label("executor_id"),
        Executor.short_id,
        Executor.name,
        Executor.visibility,
        Executor.deleted_at,
        Executor.owner_id.label("executor_owner_id"),
        NamespaceRow.name.label("namespace"),
        NamespaceRow.owner_id,
        NamespaceRow.visibility_ceiling,
        Release.id.label("release_id"),
        Release.md5,
        Release.build_env_names,
        _Borne.name.label("tag"),
    )
    .select_from(Executor)
    .join(NamespaceRow, NamespaceRow.id == Executor.namespace_id)
    .outerjoin(_Wanted, and_(_Wanted.executor_id == Executor.id, _Wanted.name == bindparam("tag")))
    .outerjoin(Release, and_(Release.id == _Wanted.release_id, Release.purged_at.is_(None)))
    .outerjoin(_Borne, _Borne.release_id == Release.id)
    .where(
        NamespaceRow.name == bindparam("namespace"),
        NamespaceRow.retired_at.is_(None),
        Executor.name_key == bindparam("name_key"),
    )
    .order_by(_Borne.name)
)


async def find_package(
    database: Database, subject: Subject, reference: str, *, tag: str | None = None, secret: str | None = None
) -> PackageDownload:
    """The release of ``tag``; without one, of 'latest', or the newest where nothing bears that.

    Raises NotFound, and BadName for what cannot be a tag of an Executor that the caller may read.
    """
    path = _path(reference, tag) if secret is None else None
    found = None if path is None else await _by_path(database, subject, path, reference, tag)
    return found or await find_package_by_steps(database, subject, reference, tag=tag, secret=secret)


def _path(reference: str, tag: str | None) -> ResourcePath | None:
    """None for the rare forms: an old bare name, an id, and what breaks the rules."""
    if "/" not in reference:
        return None
    try:
        if tag is not None:
            Tag.parse(tag)
        return ResourcePath.parse(reference)
    except BadName:
        return None


async def _by_path(
    database: Database, subject: Subject, path: ResourcePath, reference: str, tag: str | None
) -> PackageDownload | None:
    """None where no tag was asked for and nothing bears 'latest'."""
    parameters = {"namespace": str(path.namespace), "name_key": path.name.key, "tag": tag or LATEST}
    async with database.engine.connect() as connection:
        rows = (await connection.execute(_BY_PATH, parameters)).all()
    if not rows:
        raise NotFound(KIND, reference)
    resource = _resource(rows[0], reference)
    require(subject, Action.EXECUTOR_READ, resource)
    if rows[0].release_id is None:
        if tag is None:
            return None
        raise NotFound(KIND, f"{reference}:{tag}")
    return _package(rows, resource.visibility.capped(resource.ceiling))


def _resource(row: Row[*tuple[Any, ...]], asked_name: str) -> Resource:
    """As `FoundExecutor.as_resource` says it of an Executor with a namespace."""
    return Resource(
        kind=KIND,
        name=asked_name,
        owner_id=row.owner_id or row.executor_owner_id,
        visibility=Visibility(row.visibility),
        ceiling=Visibility(row.visibility_ceiling),
        is_deleted=row.deleted_at is not None,
    )


def _package(rows: Sequence[Row[*tuple[Any, ...]]], visibility: Visibility) -> PackageDownload:
    first = rows[0]
    return PackageDownload(
        executor_id=first.executor_id,
        short_id=first.short_id,
        name=first.name,
        namespace=first.namespace,
        visibility=visibility,
        release_id=first.release_id,
        md5=first.md5,
        build_env_names=first.build_env_names,
        tags=[row.tag for row in rows if row.tag is not None],
    )


async def find_package_by_steps(
    database: Database, subject: Subject, reference: str, *, tag: str | None = None, secret: str | None = None
) -> PackageDownload:
    """The same for every form of a reference: first the Executor, then its release, then that one's tags."""
    async with database.read() as session:
        found = await find_readable(session, subject, reference, secret=secret)
        wanted = None if tag is None else Tag.parse(tag)
        release = await tagged_release(session, found.executor, wanted, asked_name=reference, with_facts=False)
        tags = (await tags_of(session, [release.id])).get(release.id, [])
    return PackageDownload(
        executor_id=found.executor.id,
        short_id=found.executor.short_id,
        name=found.executor.name,
        namespace=found.namespace.name,
        visibility=found.visibility,
        release_id=release.id,
        md5=release.md5,
        build_env_names=release.build_env_names,
        tags=[one.name for one in tags],
    )
