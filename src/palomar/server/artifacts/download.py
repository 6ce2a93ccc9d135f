"""From a name to the version that a pull downloads: asked before every pull, so in one prepared SELECT."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, select

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadName, NotFound
from palomar.contract.names import ResourcePath, parse_array_name
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.models import Artifact, Version
from palomar.server.artifacts.resource import KIND
from palomar.server.artifacts.versions import current_version
from palomar.server.db.engine import Database
from palomar.server.namespaces.models import NamespaceRow


class Download(NamedTuple):
    version_id: str
    number: int
    digest: str


_BY_PATH = (
    select(
        Artifact.visibility,
        Artifact.deleted_at,
        NamespaceRow.owner_id,
        NamespaceRow.visibility_ceiling,
        Version.id,
        Version.number,
        Version.digest,
    )
    .join(NamespaceRow, NamespaceRow.id == Artifact.namespace_id)
    .outerjoin(
        Version,
        and_(Version.artifact_id == Artifact.id, Version.number == Artifact.version, Version.purged_at.is_(None)),
    )
    .where(
        NamespaceRow.name == bindparam("namespace"),
        NamespaceRow.retired_at.is_(None),
        Artifact.name_key == bindparam("name_key"),
    )
)


async def find_download(
    database: Database,
    subject: Subject,
    *,
    name: str | None = None,
    artifact_id: str | None = None,
    bare_means_own: bool,
) -> Download:
    """The newest version of what the caller may read. Raises NotFound."""
    path = _path(name) if artifact_id is None else None
    if path is not None:
        return await _by_path(database, subject, path, asked_name=name or "")
    async with database.read() as session:
        found = await find_readable(session, subject, name=name, artifact_id=artifact_id, bare_means_own=bare_means_own)
        version = await current_version(session, found.artifact)
    if version is None:
        raise NotFound(KIND, artifact_id or name or "")
    return Download(version.id, version.number, version.digest)


def _path(name: str | None) -> ResourcePath | None:
    try:
        parsed = parse_array_name(name or "")
    except BadName:
        return None
    return parsed if isinstance(parsed, ResourcePath) else None


async def _by_path(database: Database, subject: Subject, path: ResourcePath, *, asked_name: str) -> Download:
    parameters = {"namespace": str(path.namespace), "name_key": path.name.key}
    async with database.engine.connect() as connection:
        row = (await connection.execute(_BY_PATH, parameters)).first()
    if row is None:
        raise NotFound(KIND, asked_name)
    require(subject, Action.ARTIFACT_READ, _resource(row, asked_name))
    if row.id is None:
        raise NotFound(KIND, asked_name)
    return Download(row.id, row.number, row.digest)


def _resource(row: Any, asked_name: str) -> Resource:
    return Resource(
        kind=KIND,
        name=asked_name,
        owner_id=row.owner_id,
        visibility=Visibility(row.visibility),
        ceiling=Visibility(row.visibility_ceiling),
        is_deleted=row.deleted_at is not None,
    )
