"""Pushing is decided on the namespace: what a name will mean need not exist yet."""

from __future__ import annotations

from palomar.contract.actions import Action
from palomar.contract.errors import CredentialMissing, NotAllowed
from palomar.contract.images import RepositoryName
from palomar.contract.names import ResourcePath
from palomar.server.access.policy import Resource, Subject, decide
from palomar.server.namespaces.models import NamespaceRow


def require_push(
    subject: Subject, action: Action, path: ResourcePath | RepositoryName, namespace: NamespaceRow | None
) -> NamespaceRow:
    """The namespace to push to. A foreign one and one that does not exist are refused in the same words."""
    owner_id = namespace.owner_id if namespace else None
    decision = decide(subject, action, Resource(kind="namespace", name=str(path), owner_id=owner_id))
    if subject.is_anonymous:
        raise CredentialMissing
    if namespace is None or not decision.allowed:
        reason = decision.reason
        if owner_id != subject.account_id:
            reason = f"the namespace {path.namespace!r} is not yours; yours is {subject.account_name!r}"
        raise NotAllowed(action.verb, str(path), reason)
    return namespace
