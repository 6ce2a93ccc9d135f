"""Artifacts as the access policy and the clients see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from palomar.contract.actions import Action, Visibility
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

KIND = "array or file"


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact with its namespace."""

    artifact: Artifact
    namespace: NamespaceRow

    @property
    def is_legacy(self) -> bool:
        return self.namespace.name == LEGACY_NAMESPACE

    @property
    def shown_name(self) -> str | None:
        """The form in which the owner pushed it: lists must echo it (docarray deletes by what a list shows)."""
        name, namespace = self.artifact.name, self.namespace.name
        if name is None or self.artifact.is_bare or namespace == LEGACY_NAMESPACE:
            return name
        return f"{namespace}/{name}"

    @property
    def visibility(self) -> Visibility:
        """What takes effect under the namespace's ceiling."""
        return Visibility(self.artifact.visibility).capped(Visibility(self.namespace.visibility_ceiling))

    @property
    def is_document_array(self) -> bool:
        return self.artifact.kind == DOCUMENT_ARRAY

    def as_resource(self, asked_name: str) -> Resource:
        """``asked_name`` is what errors may say: the caller's own words, never more."""
        return Resource(
            kind=KIND,
            name=asked_name,
            owner_id=self.namespace.owner_id or self.artifact.owner_id,
            visibility=Visibility(self.artifact.visibility),
            ceiling=Visibility(self.namespace.visibility_ceiling),
            is_deleted=self.artifact.deleted_at is not None or self.namespace.retired_at is not None,
            is_legacy=self.is_legacy,
        )

    def require(self, subject: Subject, action: Action, asked_name: str) -> None:
        require(subject, action, self.as_resource(asked_name))


class ShownArtifact(NamedTuple):
    """What an artifact's owner and its readers are shown of it.

    Lists make one for each of their rows: an object of the ORM would cost more than all the rest of a list.
    """

    id: str
    shown_name: str | None
    visibility: Visibility
    kind: str | None
    metadata: Any
    version: int
    documents: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, found: Found) -> Self:
        artifact = found.artifact
        return cls(
            artifact.id,
            found.shown_name,
            found.visibility,
            artifact.kind,
            artifact.metadata_json,
            artifact.version,
            artifact.documents,
            artifact.created_at,
            artifact.updated_at,
        )
