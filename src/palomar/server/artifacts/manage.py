"""Changing what an artifact is called, who sees it and whether it is there; its versions never change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadParameter, NameTaken, NotFound
from palomar.server.access.policy import Subject
from palomar.server.artifacts.counts import note_live
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.resource import KIND, Found
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.target import push_path
from palomar.server.artifacts.versions import current_version
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record


@dataclass(frozen=True, slots=True)
class Changes:
    """None leaves a thing as it is."""

    name: str | None = None
    is_public: bool | None = None
    metadata: dict[str, Any] | None = None


async def update_artifact(
    session: AsyncSession, subject: Subject, artifact_id: str, changes: Changes, rules: ArtifactRules
) -> Found:
    """Raises NotFound, NotAllowed, BadName, NameTaken."""
    found = await _locked(session, subject, Action.ARTIFACT_UPDATE, rules, artifact_id=artifact_id)
    if changes.name is not None:
        await _rename(session, subject, found, changes.name, rules)
    if changes.is_public is not None:
        _set_visibility(session, subject, found, Visibility.PUBLIC if changes.is_public else Visibility.PRIVATE)
    if changes.metadata is not None:
        found.artifact.metadata_json = changes.metadata
    found.artifact.updated_at = utc_now()
    await session.flush()
    return found


async def delete_artifact(
    session: AsyncSession,
    subject: Subject,
    rules: ArtifactRules,
    *,
    name: str | None = None,
    artifact_id: str | None = None,
) -> Found:
    """The name stays taken, and its owner can bring the artifact back within the undelete window."""
    found = await _locked(session, subject, Action.ARTIFACT_DELETE, rules, name=name, artifact_id=artifact_id)
    found.artifact.deleted_at = utc_now()
    await note_live(session, found.artifact, -1)
    _record(session, EventKind.ARTIFACT_DELETED, subject, found)
    return found


async def undelete_artifact(session: AsyncSession, subject: Subject, artifact_id: str, *, window: timedelta) -> Found:
    """Raises NotFound when there is nothing to bring back, or when it is too late or its content is gone."""
    artifact = await session.get(Artifact, artifact_id, with_for_update=True)
    if artifact is None or artifact.deleted_at is None or artifact.deleted_at < utc_now() - window:
        raise NotFound(KIND, artifact_id)
    if await current_version(session, artifact) is None:
        raise NotFound(KIND, artifact_id)
    deleted_at, artifact.deleted_at = artifact.deleted_at, None
    try:
        found = await find_readable(session, subject, artifact_id=artifact_id, bare_means_own=False)
        found.require(subject, Action.ARTIFACT_UPDATE, artifact_id)
    except Exception:
        artifact.deleted_at = deleted_at
        raise
    await note_live(session, artifact, 1)
    _record(session, EventKind.ARTIFACT_UNDELETED, subject, found)
    return found


async def _locked(
    session: AsyncSession,
    subject: Subject,
    action: Action,
    rules: ArtifactRules,
    *,
    name: str | None = None,
    artifact_id: str | None = None,
) -> Found:
    found = await find_readable(
        session, subject, name=name, artifact_id=artifact_id, bare_means_own=rules.bare_means_own
    )
    found.require(subject, action, artifact_id or name or "")
    query = select(Artifact).where(Artifact.id == found.artifact.id).with_for_update()
    locked = (await session.scalars(query.execution_options(populate_existing=True))).one()
    return Found(locked, found.namespace)


async def _rename(session: AsyncSession, subject: Subject, found: Found, text: str, rules: ArtifactRules) -> None:
    path, is_bare = await push_path(
        session,
        subject,
        text,
        is_document_array=found.is_document_array,
        bare_means_own=rules.bare_means_own,
    )
    if path.namespace != found.namespace.name:
        raise BadParameter("name", f"an artifact stays in its namespace {found.namespace.name!r}")
    artifact = found.artifact
    if artifact.name_key == path.name.key:
        return
    old_name = artifact.name
    artifact.name, artifact.name_key, artifact.is_bare = str(path.name), path.name.key, is_bare
    try:
        await session.flush()
    except IntegrityError:
        raise NameTaken("array", str(path)) from None
    _record(session, EventKind.ARTIFACT_RENAMED, subject, found, old_name=old_name, new_name=artifact.name)


def _set_visibility(session: AsyncSession, subject: Subject, found: Found, visibility: Visibility) -> None:
    if found.artifact.visibility == visibility:
        return
    found.artifact.visibility = visibility
    _record(session, EventKind.ARTIFACT_VISIBILITY_CHANGED, subject, found, visibility=visibility)


def _record(session: AsyncSession, kind: EventKind, subject: Subject, found: Found, **details: Any) -> None:
    record(
        session,
        kind,
        account_id=subject.account_id,
        namespace_id=found.namespace.id,
        subject_id=found.artifact.id,
        **details,
    )
