"""Who may do what: one pure decision over values, asked by every adapter, list and job.

Allowed means that the caller's role grants the action *and* the token's scopes permit it *and* the kind of credential
may carry it. A scope narrows and never adds; what no rule grants is denied.

To see a thing and to change it are two questions: a caller who may not read a thing gets `NotFound` whatever they
wanted to do with it, with the very words of a name that does not exist; one who may read but not change it gets
`NotAllowed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from palomar.contract.actions import ALL_SCOPES, Action, Scope, Visibility, needed_scope
from palomar.contract.errors import CredentialMissing, NotAllowed, NotFound


class Credential(StrEnum):
    """How the caller proved who they are."""

    NONE = "none"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    CLI_SESSION = "cli-session"
    BROWSER_SESSION = "browser-session"
    SIGNED_URL = "signed-url"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks. Anonymous is a subject like any other."""

    account_id: str | None = None
    account_name: str | None = None
    credential: Credential = Credential.NONE
    scopes: frozenset[Scope] = frozenset()
    credential_id: str | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.account_id is None


ANONYMOUS = Subject()


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for, as far as access depends on it.

    A namespace itself is a resource without ``visibility``; ``is_legacy`` marks what nobody may change any more.
    """

    kind: str
    name: str
    owner_id: str | None
    visibility: Visibility = Visibility.PUBLIC
    ceiling: Visibility = Visibility.PUBLIC
    is_deleted: bool = False
    is_legacy: bool = False

    @property
    def is_public(self) -> bool:
        return self.visibility.capped(self.ceiling) is Visibility.PUBLIC


class Decision(NamedTuple):
    allowed: bool
    reason: str


# What a credential kind may carry at most, whatever its scopes. A signed URL opens one version, for reading.
_CARRIED: dict[Credential, frozenset[Scope]] = {
    Credential.NONE: frozenset({Scope.READ}),
    Credential.TOKEN: ALL_SCOPES,
    Credential.CLI_SESSION: ALL_SCOPES,
    Credential.BROWSER_SESSION: ALL_SCOPES,
    Credential.SIGNED_URL: frozenset({Scope.READ}),
}


def decide(subject: Subject, action: Action, resource: Resource) -> Decision:
    """The one access rule of the hub; see the access table in docs/concepts.md."""
    role = _decide_by_role(subject, action, resource)
    if not role.allowed:
        return role
    scope = needed_scope(action)
    if scope not in _CARRIED[subject.credential]:
        return Decision(False, f"a {subject.credential} cannot carry the scope {scope.value!r}")
    if not subject.is_anonymous and scope not in subject.scopes:
        return Decision(False, f"the token lacks the scope {scope.value!r}")
    return role


def _decide_by_role(subject: Subject, action: Action, resource: Resource) -> Decision:
    if resource.is_deleted:
        return Decision(False, "it was deleted")
    is_owner = resource.owner_id is not None and resource.owner_id == subject.account_id
    if action.is_read:
        return _decide_reading(action, resource, is_owner=is_owner)
    if resource.is_legacy:
        return Decision(False, "old un-namespaced resources can be pulled and never changed")
    return Decision(True, "it is yours") if is_owner else Decision(False, "it belongs to somebody else")


def _decide_reading(action: Action, resource: Resource, *, is_owner: bool) -> Decision:
    if is_owner:
        return Decision(True, "it is yours")
    if resource.is_public and action in _PUBLIC_READS:
        return Decision(True, "it is public")
    return Decision(False, "it is private")


_PUBLIC_READS = frozenset({Action.ARTIFACT_READ, Action.EXECUTOR_READ, Action.IMAGE_READ, Action.NAMESPACE_READ})


def reading(action: Action) -> Action:
    """The action that must be allowed before a denial of ``action`` may admit that the thing exists."""
    return Action(f"{action.value.partition(':')[0]}:read")


def require(subject: Subject, action: Action, resource: Resource) -> None:
    """Raises NotFound (may not see it), CredentialMissing (anonymous) or NotAllowed."""
    decision = decide(subject, action, resource)
    if decision.allowed:
        return
    if not _decide_by_role(subject, reading(action), resource).allowed:
        raise NotFound(resource.kind, resource.name)
    if subject.is_anonymous:
        raise CredentialMissing
    raise NotAllowed(action.verb, resource.name, decision.reason)
