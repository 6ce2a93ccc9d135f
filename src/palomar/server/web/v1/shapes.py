"""From rows to what the API gives."""

from __future__ import annotations

from palomar.contract import v1
from palomar.contract.actions import Action
from palomar.server.access.policy import Subject, decide
from palomar.server.artifacts.listing import ListedVersion
from palomar.server.artifacts.models import Version
from palomar.server.artifacts.resource import Found


def array_row(found: Found, version: Version | None) -> v1.ArrayRow:
    artifact = found.artifact
    return v1.ArrayRow(
        namespace=namespace_of(found),
        name=artifact.name or "",
        kind=v1.Kind(version.document_kind) if version and version.document_kind else None,
        version=artifact.version,
        digest=version.digest if version else None,
        documents=artifact.documents,
        raw_bytes=artifact.raw_bytes,
        visibility=found.visibility,
        created_at=artifact.created_at,
        updated_at=artifact.updated_at,
    )


def array_detail(found: Found, version: Version | None) -> v1.ArrayDetail:
    return v1.ArrayDetail(**dict(array_row(found, version)), metadata=_metadata(found.artifact.metadata_json))


def receipt(found: Found, listed: ListedVersion, subject: Subject) -> v1.Receipt:
    version = listed.version
    may_push = decide(subject, Action.ARTIFACT_PUSH, found.as_resource("")).allowed
    return v1.Receipt(
        namespace=namespace_of(found),
        name=found.artifact.name or "",
        version=version.number,
        kind=v1.Kind(version.document_kind or ""),
        digest=version.digest,
        documents=version.documents,
        raw_bytes=version.raw_bytes,
        stream_bytes=version.stream_bytes,
        new_bytes=version.new_bytes if may_push else None,
        visibility=found.visibility,
        message=version.message,
        pushed_by=listed.pushed_by,
        durable_at=version.created_at,
    )


def version_detail(found: Found, listed: ListedVersion, subject: Subject) -> v1.VersionDetail:
    metadata = _metadata(listed.version.metadata_json)
    return v1.VersionDetail(**dict(receipt(found, listed, subject)), metadata=metadata)


def namespace_of(found: Found) -> str | None:
    return None if found.is_legacy else found.namespace.name


def _metadata(stored: object) -> dict[str, object] | None:
    return stored if isinstance(stored, dict) else None
