"""What is recorded, in one alphabetised list."""

from __future__ import annotations

from enum import StrEnum


class EventKind(StrEnum):
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_PASSWORD_CHANGED = "account.password-changed"  # noqa: S105 - an event's name
    ARTIFACT_DELETED = "artifact.deleted"
    ARTIFACT_IMPORTED = "artifact.imported"
    ARTIFACT_PURGED = "artifact.purged"
    ARTIFACT_PUSHED = "artifact.pushed"
    ARTIFACT_RENAMED = "artifact.renamed"
    ARTIFACT_UNDELETED = "artifact.undeleted"
    ARTIFACT_VISIBILITY_CHANGED = "artifact.visibility-changed"
    BLOB_CORRUPT = "blob.corrupt"
    BUILD_CANCELLED = "build.cancelled"
    BUILD_FAILED = "build.failed"
    BUILD_REQUESTED = "build.requested"
    BUILD_SUCCEEDED = "build.succeeded"
    EXECUTOR_DELETED = "executor.deleted"
    EXECUTOR_IMPORTED = "executor.imported"
    EXECUTOR_PURGED = "executor.purged"
    EXECUTOR_PUSHED = "executor.pushed"
    EXECUTOR_RENAMED = "executor.renamed"
    EXECUTOR_RETAGGED = "executor.retagged"
    EXECUTOR_UNDELETED = "executor.undeleted"
    EXECUTOR_VISIBILITY_CHANGED = "executor.visibility-changed"
    IMAGE_DELETED = "image.deleted"
    IMAGE_PURGED = "image.purged"
    IMAGE_PUSHED = "image.pushed"
    IMAGE_UNTAGGED = "image.untagged"
    NAMESPACE_CREATED = "namespace.created"
    NAMESPACE_UPDATED = "namespace.updated"
    SESSION_STARTED = "session.started"
    SESSION_ENDED = "session.ended"
    TOKEN_CREATED = "token.created"  # noqa: S105 - an event's name
    TOKEN_DELETED = "token.deleted"  # noqa: S105 - an event's name
