"""Refusals that are about the state of the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from palomar.contract.errors.base import PalomarError

# --- the state of the hub says no --------------------------------------------------------------------------------


@dataclass(eq=False)
class Conflict(PalomarError):
    code: ClassVar[str] = "conflict"
    title: ClassVar[str] = "The request conflicts with what is stored"


@dataclass(eq=False)
class NameTaken(Conflict):
    kind: str
    name: str

    code: ClassVar[str] = "name-taken"
    title: ClassVar[str] = "The name is taken"

    @property
    def detail(self) -> str:
        return f"The {self.kind} name {self.name!r} is taken: choose another one."


@dataclass(eq=False)
class NameRetired(Conflict):
    kind: str
    name: str

    code: ClassVar[str] = "name-retired"
    title: ClassVar[str] = "The name was used before"

    @property
    def detail(self) -> str:
        return f"The {self.kind} name {self.name!r} was used before and is never given away again: choose another one."


@dataclass(eq=False)
class LegacyFrozen(Conflict):
    name: str
    namespace: str

    code: ClassVar[str] = "legacy-frozen"
    title: ClassVar[str] = "Old un-namespaced arrays cannot be updated"

    @property
    def detail(self) -> str:
        full = f"{self.namespace}/{self.name}"
        return (
            f"{self.name!r} is an old un-namespaced array: it can be pulled and never updated. "
            f"New pushes must say 'namespace/name': push to {full!r}."
        )


@dataclass(eq=False)
class VersionConflict(Conflict):
    name: str
    expected: int
    current: int

    code: ClassVar[str] = "version-conflict"
    title: ClassVar[str] = "Somebody pushed in between"

    @property
    def detail(self) -> str:
        return f"{self.name!r} is at version {self.current}, not {self.expected}: pull it, merge, and push again."


@dataclass(eq=False)
class TagProtected(Conflict):
    name: str
    tag: str

    code: ClassVar[str] = "tag-protected"
    title: ClassVar[str] = "A protected tag never moves"

    @property
    def detail(self) -> str:
        return f"The tag {self.tag!r} of {self.name!r} is protected and never moves: push under another tag."


@dataclass(eq=False)
class BreakingChange(Conflict):
    """``changes`` in words; ``release`` is the number of the release that made the promise."""

    name: str
    release: int
    changes: list[str]

    code: ClassVar[str] = "breaking-change"
    title: ClassVar[str] = "The release would break its users"

    @property
    def detail(self) -> str:
        listed = "; ".join(self.changes[:5])
        return (
            f"This would break the users of {self.name!r} (compared with release {self.release}): {listed}. "
            "The namespace refuses that under its version tags; push under another tag, or mend it."
        )


# --- too much ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class LimitExceeded(PalomarError):
    code: ClassVar[str] = "limit-exceeded"
    title: ClassVar[str] = "A limit is exceeded"


@dataclass(eq=False)
class TooLarge(LimitExceeded):
    what: str
    limit_bytes: int

    code: ClassVar[str] = "too-large"
    title: ClassVar[str] = "Too large"

    @property
    def detail(self) -> str:
        return f"{self.what} is larger than the limit of {self.limit_bytes:,} bytes. Nothing was stored."


@dataclass(eq=False)
class QuotaExceeded(LimitExceeded):
    namespace: str
    limit_bytes: int

    code: ClassVar[str] = "quota-exceeded"
    title: ClassVar[str] = "The namespace is full"

    @property
    def detail(self) -> str:
        return f"{self.namespace!r} would exceed its quota of {self.limit_bytes:,} bytes: delete something first."


@dataclass(eq=False)
class RateLimited(LimitExceeded):
    retry_after_s: int

    code: ClassVar[str] = "rate-limited"
    title: ClassVar[str] = "Too many attempts"

    @property
    def detail(self) -> str:
        return f"Too many attempts: try again in {self.retry_after_s} seconds."


# --- never ----------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Unsupported(PalomarError):
    what: str
    advice: str

    code: ClassVar[str] = "unsupported"
    title: ClassVar[str] = "This hub does not do that"

    @property
    def detail(self) -> str:
        return f"This hub has no {self.what}: {self.advice}."


# --- the hub's fault ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Unavailable(PalomarError):
    code: ClassVar[str] = "unavailable"
    title: ClassVar[str] = "The hub cannot do this now"


@dataclass(eq=False)
class StorageFull(Unavailable, OSError):
    code: ClassVar[str] = "storage-full"
    title: ClassVar[str] = "The hub's disk is full"

    @property
    def detail(self) -> str:
        return "The hub's disk is full. Nothing was stored; ask the operator to make room, then push again."


@dataclass(eq=False)
class DataCorrupt(Unavailable):
    what: str

    code: ClassVar[str] = "data-corrupt"
    title: ClassVar[str] = "Stored data fails its checksum"

    @property
    def detail(self) -> str:
        return f"{self.what} fails its checksum and is not served. Tell the operator."


@dataclass(eq=False)
class Busy(Unavailable):
    reason: str

    code: ClassVar[str] = "busy"
    title: ClassVar[str] = "Try again in a moment"

    @property
    def detail(self) -> str:
        return f"{self.reason}. Nothing was changed; try again in a moment."
