"""Where a push goes: the artifact that its name or id means, locked, or a new one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadParameter, BareNameRefused, CredentialMissing, LegacyFrozen
from palomar.contract.names import BareName, LegacyName, Namespace, ResourceName, ResourcePath, parse_array_name
from palomar.server.access.policy import Subject
from palomar.server.access.pushing import require_push
from palomar.server.artifacts.find import find_readable, legacy_by_name, may_read
from palomar.server.artifacts.models import Artifact
from palomar.server.artifacts.rules import ArtifactRules
from palomar.server.artifacts.values import PushRequest
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The artifact's row is locked until the transaction ends, so version numbers never collide."""

    artifact: Artifact
    namespace: NamespaceRow
    is_bare: bool


async def find_target(
    session: AsyncSession, subject: Subject, request: PushRequest, rules: ArtifactRules
) -> PushTarget:
    """Raises what the names and the access rules say."""
    if subject.is_anonymous:
        raise CredentialMissing
    if request.artifact_id:
        target = await _by_id(session, subject, request, rules)
    elif request.name:
        target = await _by_name(session, subject, request, rules)
    else:
        target = await _unnamed(session, subject, request)
    check_type(target.artifact, request)
    return target


async def push_path(
    session: AsyncSession, subject: Subject, name: str, *, is_document_array: bool, bare_means_own: bool
) -> tuple[ResourcePath, bool]:
    """The full name that a pushed name means, and whether it was written bare.

    Files have always been their owner's own affair, so for them a bare name is no old habit but the rule
    (jina-hubble-sdk's upload_artifact); a DocumentArray must say its namespace unless the operator allows otherwise.
    """
    parsed = parse_array_name(name)
    if isinstance(parsed, ResourcePath):
        return parsed, False
    own = subject.account_name or ""
    if is_document_array:
        await _refuse_legacy(session, subject, parsed)
        if not bare_means_own:
            raise BareNameRefused(parsed.name, own)
    return ResourcePath(Namespace.parse(own), ResourceName.parse(parsed.name)), True


async def _refuse_legacy(session: AsyncSession, subject: Subject, name: BareName) -> None:
    legacy = await legacy_by_name(session, name)
    if legacy is not None and may_read(legacy, subject, name.name):
        raise LegacyFrozen(name.name, subject.account_name or "")


async def _by_id(session: AsyncSession, subject: Subject, request: PushRequest, rules: ArtifactRules) -> PushTarget:
    found = await find_readable(session, subject, artifact_id=request.artifact_id, bare_means_own=rules.bare_means_own)
    found.require(subject, Action.ARTIFACT_PUSH, request.artifact_id or "")
    artifact = await _lock(session, found.artifact.id)
    if request.name is not None and request.name not in {artifact.name, found.shown_name}:
        raise BadParameter("name", "an upload by id keeps the name; change it with artifact.update")
    return PushTarget(artifact, found.namespace, artifact.is_bare)


async def _by_name(session: AsyncSession, subject: Subject, request: PushRequest, rules: ArtifactRules) -> PushTarget:
    path, is_bare = await push_path(
        session,
        subject,
        request.name or "",
        is_document_array=request.is_document_array,
        bare_means_own=rules.bare_means_own,
    )
    namespace = require_push(subject, Action.ARTIFACT_PUSH, path, await find_namespace(session, path.namespace))
    named = (Artifact.namespace_id == namespace.id, Artifact.name_key == path.name.key)
    new = artifact_row(namespace, request, name=path.name)
    await insert_missing(session, Artifact, [new])
    artifact = (await session.scalars(select(Artifact).where(*named).with_for_update())).one()
    if artifact.deleted_at is not None:
        # A revived name begins as a new one would, but goes on counting its versions.
        artifact.visibility = new["visibility"]
    return PushTarget(artifact, namespace, is_bare)


async def _unnamed(session: AsyncSession, subject: Subject, request: PushRequest) -> PushTarget:
    if request.is_document_array:
        raise BadParameter("name", f"it is missing; push to '{subject.account_name}/your-array'")
    namespace = await find_namespace(session, subject.account_name or "")
    path = ResourcePath(Namespace.parse(subject.account_name or ""), ResourceName.parse("unnamed"))
    namespace = require_push(subject, Action.ARTIFACT_PUSH, path, namespace)
    row = artifact_row(namespace, request, name=None)
    await insert_missing(session, Artifact, [row])
    return PushTarget(await _lock(session, row["id"]), namespace, is_bare=True)


async def _lock(session: AsyncSession, artifact_id: str) -> Artifact:
    query = select(Artifact).where(Artifact.id == artifact_id).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).one()


def artifact_row(
    namespace: NamespaceRow, request: PushRequest, *, name: ResourceName | LegacyName | None
) -> dict[str, Any]:
    """A new artifact before its first version; the values are complete, as `insert_missing` needs them."""
    now = utc_now()
    return {
        "id": new_id(),
        "namespace_id": namespace.id,
        "name": None if name is None else str(name),
        "name_key": None if name is None else name.key,
        "is_bare": False,
        "kind": request.type,
        "visibility": _first_visibility(namespace, request),
        "version": 0,
        "documents": 0,
        "raw_bytes": 0,
        "created_at": now,
        "updated_at": now,
    }


def _first_visibility(namespace: NamespaceRow, request: PushRequest) -> Visibility:
    """Of something whose push does not say: arrays as the namespace has it, files private (as their client assumes)."""
    if request.is_public is not None:
        return Visibility.PUBLIC if request.is_public else Visibility.PRIVATE
    return Visibility(namespace.default_visibility) if request.is_document_array else Visibility.PRIVATE


def check_type(artifact: Artifact, request: PushRequest) -> None:
    """A name holds arrays or files, and not one after the other."""
    is_settled = artifact.version > 0 and artifact.deleted_at is None
    if is_settled and artifact.kind != request.type:
        words = f"{artifact.name or artifact.id!r} holds {artifact.kind or 'a plain file'!r}; choose another name"
        raise BadParameter("type", words)
