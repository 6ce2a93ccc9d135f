"""Executors as the access policy and the clients see them."""

from __future__ import annotations

from dataclasses import dataclass

from palomar.contract.actions import Action, Visibility
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.executors.models import Executor
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow

KIND = "Executor"


@dataclass(frozen=True, slots=True)
class FoundExecutor:
    """An Executor with its namespace."""

    executor: Executor
    namespace: NamespaceRow

    @property
    def is_legacy(self) -> bool:
        return self.namespace.name == LEGACY_NAMESPACE

    @property
    def shown_name(self) -> str:
        return self.executor.name if self.is_legacy else f"{self.namespace.name}/{self.executor.name}"

    @property
    def owner_id(self) -> str | None:
        return self.namespace.owner_id or self.executor.owner_id

    @property
    def visibility(self) -> Visibility:
        """What takes effect under the namespace's ceiling."""
        return Visibility(self.executor.visibility).capped(Visibility(self.namespace.visibility_ceiling))

    @property
    def is_deleted(self) -> bool:
        return self.executor.deleted_at is not None or self.namespace.retired_at is not None

    def as_resource(self, asked_name: str) -> Resource:
        """``asked_name`` is what errors may say: the caller's own words, never more."""
        return Resource(
            kind=KIND,
            name=asked_name,
            owner_id=self.owner_id,
            visibility=Visibility(self.executor.visibility),
            ceiling=Visibility(self.namespace.visibility_ceiling),
            is_deleted=self.is_deleted,
            is_legacy=self.is_legacy,
        )

    def require(self, subject: Subject, action: Action, asked_name: str) -> None:
        require(subject, action, self.as_resource(asked_name))
