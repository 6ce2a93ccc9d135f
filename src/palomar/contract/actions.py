"""What can be done, and what a token may be used for."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """``resource:verb``; the verb phrase completes 'You may not ...'."""

    ACCOUNT_READ = "account:read"
    ACCOUNT_WRITE = "account:write"
    ARTIFACT_READ = "artifact:read"
    ARTIFACT_PUSH = "artifact:push"
    ARTIFACT_UPDATE = "artifact:update"
    ARTIFACT_DELETE = "artifact:delete"
    EXECUTOR_READ = "executor:read"
    EXECUTOR_PUSH = "executor:push"
    EXECUTOR_UPDATE = "executor:update"
    EXECUTOR_DELETE = "executor:delete"
    IMAGE_DELETE = "image:delete"
    IMAGE_PUSH = "image:push"
    IMAGE_READ = "image:read"
    NAMESPACE_READ = "namespace:read"
    NAMESPACE_UPDATE = "namespace:update"
    TOKEN_READ = "token:read"  # noqa: S105 - an action's name
    TOKEN_WRITE = "token:write"  # noqa: S105 - an action's name

    @property
    def verb(self) -> str:
        words = {"read": "read", "push": "push to", "update": "change", "delete": "delete", "write": "change"}
        return words[self.value.partition(":")[2]]

    @property
    def is_read(self) -> bool:
        return self.value.endswith(":read")


class Scope(StrEnum):
    """A ceiling on what its owner may do; it never adds a right."""

    READ = "read"
    WRITE = "write"
    ACCOUNT = "account"

    @property
    def label(self) -> str:
        return {
            Scope.READ: "Pull and list what you can see",
            Scope.WRITE: "Push, change and delete what is yours",
            Scope.ACCOUNT: "Manage your tokens, sessions and account",
        }[self]


ALL_SCOPES: frozenset[Scope] = frozenset(Scope)

_NEEDED: dict[str, Scope] = {"push": Scope.WRITE, "update": Scope.WRITE, "delete": Scope.WRITE, "read": Scope.READ}


def needed_scope(action: Action) -> Scope:
    """The scope that a token must have for an action."""
    if action in {Action.TOKEN_READ, Action.TOKEN_WRITE, Action.ACCOUNT_WRITE, Action.NAMESPACE_UPDATE}:
        return Scope.ACCOUNT
    return _NEEDED[action.value.partition(":")[2]]


class Visibility(StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"

    def capped(self, ceiling: Visibility) -> Visibility:
        """What takes effect under a namespace's ceiling."""
        return self if ceiling is Visibility.PUBLIC else Visibility.PRIVATE
