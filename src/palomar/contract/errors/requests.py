"""Refusals that are about the request and its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from palomar.contract.errors.base import PalomarError, shorten

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
    title: ClassVar[str] = "No such page or method"

    @property
    def detail(self) -> str:
        return f"There is no {self.kind} {shorten(self.name)!r} on this hub."
