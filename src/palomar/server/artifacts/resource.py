"""Artifacts as the access policy and the clients see them."""

from __future__ import annotations

from dataclasses import dataclass

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
        artifact = self.artifact
        if artifact.name is None or artifact.is_bare or self.is_legacy:
            return artifact.name
        return f"{self.namespace.name}/{artifact.name}"

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
