"""Everything that Palomar refuses, as one tree.

    PalomarError
    |-- InvalidInput            the request itself is wrong
    |   |-- BadName             a namespace, resource or token name that the rules do not allow
    |   |-- BareNameRefused     a push that names no namespace
    |   |-- BadParameter        one field of a request
    |   |-- BadRequestBody      not JSON, no file part, two file parts, cut off
    |   |-- MalformedStream     bytes that are no DocumentArray, or a truncated or padded one
    |   |-- CountMismatch       a header that promises another number of documents than arrived
    |   |-- DigestMismatch      bytes that do not have the digest they were announced with
    |   |-- BadPackage          an Executor package that is no safe zip, or cannot be read
    |       |-- NoExecutorFound no class in it, or none that can be told apart, derives from Executor
    |-- Unauthenticated         who is asking?
    |   |-- CredentialMissing
    |   |-- CredentialInvalid   unknown, expired, revoked: never said which
    |   |-- LoginFailed
    |-- NotAllowed              known caller, known thing, not theirs to change
    |-- NotFound                absent, or not for this caller's eyes: never said which
    |   |-- UnknownMethod
    |-- Conflict
    |   |-- NameTaken
    |   |-- NameRetired         a tombstone holds the name
    |   |-- LegacyFrozen        an old un-namespaced array cannot be updated
    |   |-- VersionConflict     somebody pushed in between
    |   |-- TagProtected        a protected tag never moves
    |   |-- BreakingChange      a release breaks what its tag promises, in a namespace that refuses that
    |-- LimitExceeded
    |   |-- TooLarge
    |   |-- QuotaExceeded
    |   |-- RateLimited
    |-- Unsupported             this hub does not do that
    |-- Unavailable             the hub's fault, or its disk's
        |-- StorageFull
        |-- DataCorrupt         stored bytes fail their checksum
        |-- Busy

A class knows its stable ``code`` and its fields, and nothing of HTTP. Every adapter maps classes to its own wire
(a test asserts that each has a mapping), and the SDK rebuilds the same class from ``code`` and ``fields``.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False)
class PalomarError(Exception):
    """Base of the tree; raised as itself only when the SDK meets a code it does not know."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"

    def __post_init__(self) -> None:
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """One or two sentences for a person: what was wrong, what is allowed, what to do."""
        return self.title

    @property
    def fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        return self.detail


# --- the request itself is wrong ---------------------------------------------------------------------------------


@dataclass(eq=False)
class InvalidInput(PalomarError, ValueError):
    code: ClassVar[str] = "invalid-input"
    title: ClassVar[str] = "The request is not valid"


@dataclass(eq=False)
class BadName(InvalidInput):
    """``kind`` is what was to be named ('namespace', 'resource', ...), ``allowed`` the rule in words."""

    kind: str
    value: str
    reason: str
    allowed: str

    code: ClassVar[str] = "bad-name"
    title: ClassVar[str] = "The name is not allowed"

    @property
    def detail(self) -> str:
        return f"{shorten(self.value)!r} is not a valid {self.kind} name: {self.reason}. Allowed: {self.allowed}."


@dataclass(eq=False)
class BareNameRefused(InvalidInput):
    name: str
    namespace: str

    code: ClassVar[str] = "bare-name"
    title: ClassVar[str] = "The name says no namespace"

    @property
    def detail(self) -> str:
        full = f"{self.namespace}/{self.name}"
        return f"{shorten(self.name)!r} names no namespace. New pushes must say 'namespace/name': push to {full!r}."


@dataclass(eq=False)
class BadParameter(InvalidInput):
    parameter: str
    reason: str

    code: ClassVar[str] = "bad-parameter"
    title: ClassVar[str] = "A parameter is not valid"

    @property
    def detail(self) -> str:
        return f"{self.parameter}: {self.reason}."


@dataclass(eq=False)
class BadRequestBody(InvalidInput):
    reason: str

    code: ClassVar[str] = "bad-request-body"
    title: ClassVar[str] = "The request body cannot be read"

    @property
    def detail(self) -> str:
        return f"The request body cannot be read: {self.reason}."


@dataclass(eq=False)
class MalformedStream(InvalidInput):
    """``document`` is the position, from 0, of the document where reading stopped, if it came that far."""

    reason: str
    document: int | None = None

    code: ClassVar[str] = "malformed-stream"
    title: ClassVar[str] = "The bytes are not a DocumentArray"

    @property
    def detail(self) -> str:
        where = "" if self.document is None else f" at document {self.document}"
        return f"The bytes are not a complete DocumentArray{where}: {self.reason}. Nothing was stored; push again."


@dataclass(eq=False)
class CountMismatch(InvalidInput):
    promised: int
    arrived: int

    code: ClassVar[str] = "count-mismatch"
    title: ClassVar[str] = "The header promises another number of documents"

    @property
    def detail(self) -> str:
        advice = "Nothing was stored"
        if self.arrived < self.promised:
            advice += "; a client that stops at 4 GiB drops the rest silently, so push in parts"
        return f"The header promises {self.promised} documents, {self.arrived} arrived. {advice}."


@dataclass(eq=False)
class DigestMismatch(InvalidInput):
    expected: str
    actual: str

    code: ClassVar[str] = "digest-mismatch"
    title: ClassVar[str] = "The bytes do not have the announced digest"

    @property
    def detail(self) -> str:
        return f"The bytes have digest {self.actual}, not {self.expected} as announced. Nothing was stored; send again."


@dataclass(eq=False)
class BadPackage(InvalidInput):
    """``entry`` is the file of the package that is wrong, unless it is the package itself."""

    reason: str
    entry: str | None = None

    code: ClassVar[str] = "bad-package"
    title: ClassVar[str] = "The Executor package cannot be accepted"

    @property
    def detail(self) -> str:
        where = "" if self.entry is None else f" because of {shorten(self.entry)!r}"
        return f"The package cannot be accepted{where}: {self.reason}. Nothing was stored."


@dataclass(eq=False)
class NoExecutorFound(BadPackage):
    """A class of its own because old clients explain this case themselves, by its own code."""

    code: ClassVar[str] = "no-executor-found"
    title: ClassVar[str] = "No Executor was found in the package"


# --- who is asking? ----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Unauthenticated(PalomarError):
    code: ClassVar[str] = "unauthenticated"
    title: ClassVar[str] = "Log in first"


@dataclass(eq=False)
class CredentialMissing(Unauthenticated):
    code: ClassVar[str] = "credential-missing"
    title: ClassVar[str] = "Log in first"

    @property
    def detail(self) -> str:
        return "This needs a login: run 'jina auth login', or set JINA_AUTH_TOKEN to a personal access token."


@dataclass(eq=False)
class CredentialInvalid(Unauthenticated):
    code: ClassVar[str] = "credential-invalid"
    title: ClassVar[str] = "The token is not valid"

    @property
    def detail(self) -> str:
        return "The token is unknown, expired or revoked: log in again, or create a new personal access token."


@dataclass(eq=False)
class LoginFailed(Unauthenticated):
    code: ClassVar[str] = "login-failed"
    title: ClassVar[str] = "Name or password is wrong"

    @property
    def detail(self) -> str:
        return "Name or password is wrong."


# --- known caller, known thing, not theirs -----------------------------------------------------------------------


@dataclass(eq=False)
class NotAllowed(PalomarError, PermissionError):
    """``action`` and ``resource`` in words; ``reason`` from the access decision."""

    action: str
    resource: str
    reason: str

    code: ClassVar[str] = "not-allowed"
    title: ClassVar[str] = "Not allowed"

    @property
    def detail(self) -> str:
        return f"You may not {self.action} {self.resource!r}: {self.reason}."


@dataclass(eq=False)
class NotFound(PalomarError, LookupError):
    """Absent, or private to somebody else: both look the same in every field."""

    kind: str
    name: str

    code: ClassVar[str] = "not-found"
    title: ClassVar[str] = "Not found"

    @property
    def detail(self) -> str:
        return f"There is no {self.kind} {shorten(self.name)!r}, or you may not see it."


@dataclass(eq=False)
class UnknownMethod(NotFound):
    code: ClassVar[str] = "unknown-method"
    title: ClassVar[str] = "No such method"

    @property
    def detail(self) -> str:
        return f"There is no {self.kind} {shorten(self.name)!r} on this hub."


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


def shorten(value: str, length: int = 80) -> str:
    """A user's string, short enough for an error message."""
    return value if len(value) <= length else value[: length - 1] + "…"


def catalogue() -> dict[str, type[PalomarError]]:
    """Every class of the tree by its code."""
    found: dict[str, type[PalomarError]] = {}
    pending: list[type[PalomarError]] = [PalomarError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
