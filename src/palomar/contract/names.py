"""Names and URIs: parsed once at the edge, passed on as typed values, printed here and nowhere else.

A namespace is ``[a-z0-9](-?[a-z0-9]){0,38}``; a resource is ``[A-Za-z0-9][A-Za-z0-9._-]{0,127}`` without ``..``.
Resource names are unique without regard to case and shown as first written. Every pattern below runs in linear time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from palomar.contract.errors import BadName

NAMESPACE_RULE = "1 to 39 lower-case letters, digits and single hyphens, beginning and ending with a letter or digit"
RESOURCE_RULE = (
    "1 to 128 letters, digits, '.', '_' and '-', beginning with a letter or digit, without '..'; written namespace/name"
)
TAG_RULE = "1 to 128 letters, digits, '.', '_' and '-', not beginning with '.' or '-'"
LABEL_RULE = "1 to 100 printable characters"
LEGACY_RULE = "1 to 255 printable characters other than '/', '&', '#', '+' and '%'"

# Everything that is a path of the hub or of /v2/, and the names that a person takes for the hub itself.
RESERVED_NAMESPACES = frozenset(
    """
    about abuse access account accounts admin administrator alert alerts all anonymous api app apps archive artifact
    artifacts assets auth authorize autodiscover billing blob blobs blog catalog catalogue changelog config console
    cookies dashboard data dataset datasets delete docs documentation download downloads edit email events executor
    executors explore export faq favicon feed files flow flows ftp health healthz help home host hostmaster hub
    hubble image images import index info internal invite invites issues jcloud jina jina-ai jinaai jinahub job jobs
    jwks keys legacy legal library list localhost login logout mail manifests media metrics mirror models moderator
    monitoring new news no-reply noreply notifications null oauth oauth2 official openapi operator org organisation
    organisations organization organizations orgs palomar password payment payments policy postmaster pricing
    privacy profile profiles public pull push readyz recover register registry releases render reset resources
    robots root rpc rss sandbox search security service session sessions settings share sign-in sign-out sign-up
    signin signout signup sitemap snapshots sso staff staging static stats status storage store support swagger sys
    system tag tags team teams terms test-hub token tokens tos unsubscribe update upload uploads user users v1 v2 v3
    verify version versions viewer webhook webhooks webmaster welcome well-known worker www
    """.split()
)

_NAMESPACE = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,38}", re.ASCII)
_RESOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
# Characters that old clients do not encode in 'getDownloadUrl?name=': an array of such a name could never be pulled.
_UNPULLABLE = frozenset("/&#+%")
_NAMESPACE_LENGTH = 39


class Namespace(str):
    """A namespace name that follows the rules."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadName. Reserved names parse: whether one may be *registered* is `check_registrable`'s question."""
        if len(text) > _NAMESPACE_LENGTH:
            raise BadName("namespace", text, f"it has {len(text)} characters", NAMESPACE_RULE)
        if not _NAMESPACE.fullmatch(text):
            reason = "it is empty" if not text else "it has other characters or misplaced hyphens"
            if text != text.lower() and _NAMESPACE.fullmatch(text.lower()):
                reason = f"it has upper-case letters, write {text.lower()!r}"
            raise BadName("namespace", text, reason, NAMESPACE_RULE)
        return cls(text)

    def check_registrable(self) -> Self:
        if self in RESERVED_NAMESPACES:
            raise BadName("namespace", self, "it is reserved for the hub", NAMESPACE_RULE)
        return self


class ResourceName(str):
    """A resource's name within its namespace, as first written."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _RESOURCE.fullmatch(text):
            reason = "it is empty" if not text else "it has other characters, or is too long"
            raise BadName("resource", text, reason, RESOURCE_RULE)
        if ".." in text:
            raise BadName("resource", text, "it contains '..'", RESOURCE_RULE)
        return cls(text)

    @property
    def key(self) -> str:
        """What uniqueness is decided on."""
        return self.lower()


class LegacyName(str):
    """The name of an array that was pushed before namespaces existed."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if not 0 < len(text) <= 255 or not text.isprintable() or _UNPULLABLE & set(text):
            raise BadName("array", text, "no client could pull it", LEGACY_RULE)
        return cls(text)

    @property
    def key(self) -> str:
        return self


class Tag(str):
    """A movable name of a release."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _TAG.fullmatch(text):
            raise BadName("tag", text, "it is empty, too long or has other characters", TAG_RULE)
        return cls(text)


class Digest(str):
    """A SHA-256 digest, 64 lower-case hexadecimal digits."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if not _DIGEST.fullmatch(text):
            raise BadName("digest", text, "it is no SHA-256 digest", "64 lower-case hexadecimal digits")
        return cls(text)


class Label(str):
    """What a person calls one of their tokens or sessions."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        if not 0 < len(text.strip()) <= 100 or not text.isprintable():
            raise BadName("token", text, "it is empty, too long or not printable", LABEL_RULE)
        return cls(text.strip())


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """``namespace/name``."""

    namespace: Namespace
    name: ResourceName

    @classmethod
    def parse(cls, text: str) -> Self:
        namespace, slash, name = text.partition("/")
        if not slash:
            raise BadName("resource", text, "it names no namespace", RESOURCE_RULE)
        return cls(Namespace.parse(namespace), ResourceName.parse(name))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class BareName:
    """A name without a namespace; what it means is decided where it is used."""

    name: str

    def __str__(self) -> str:
        return self.name


def parse_array_name(text: str) -> ResourcePath | BareName:
    """What a docarray client calls an array: ``alice/x``, ``x``, or ``jac://`` before either (docarray >= 0.30)."""
    text = text.removeprefix("jac://")
    if "/" in text:
        return ResourcePath.parse(text)
    return BareName(text)


class Scheme(StrEnum):
    """URI schemes of Executors: jinaai with namespaces, jinahub before them."""

    JINAAI = "jinaai"
    JINAAI_DOCKER = "jinaai+docker"
    JINAAI_SANDBOX = "jinaai+sandbox"
    JINAHUB = "jinahub"
    JINAHUB_DOCKER = "jinahub+docker"
    JINAHUB_SANDBOX = "jinahub+sandbox"

    @property
    def is_legacy(self) -> bool:
        return self.startswith("jinahub")


@dataclass(frozen=True, slots=True)
class ExecutorUri:
    """``jinaai://alice/MyExecutor:v2`` or, of old, ``jinahub://MyExecutor:secret/v2``."""

    scheme: Scheme
    namespace: Namespace | None
    name: ResourceName
    tag: Tag | None = None
    secret: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        scheme_text, sep, rest = text.partition("://")
        if not sep or scheme_text not in set(Scheme):
            raise _bad_uri(text, "it does not begin with a known scheme")
        scheme = Scheme(scheme_text)
        return cls._parse_legacy(text, scheme, rest) if scheme.is_legacy else cls._parse_current(text, scheme, rest)

    @classmethod
    def _parse_current(cls, text: str, scheme: Scheme, rest: str) -> Self:
        path, colon, tag = rest.strip("/").partition(":")
        namespace, slash, name = path.rstrip("/").partition("/")
        if not slash or ":" in tag:
            raise _bad_uri(text, "it is not namespace/name or namespace/name:tag")
        return cls(
            scheme,
            Namespace.parse(namespace),
            ResourceName.parse(name.strip("/")),
            Tag.parse(tag.strip("/")) if colon else None,
        )

    @classmethod
    def _parse_legacy(cls, text: str, scheme: Scheme, rest: str) -> Self:
        head, slash, tag = rest.rstrip("/").partition("/")
        name, colon, secret = head.partition(":")
        if colon and not (secret and secret.isprintable()):
            raise _bad_uri(text, "its secret is empty or not printable")
        return cls(scheme, None, ResourceName.parse(name), Tag.parse(tag) if slash else None, secret or None)

    def __str__(self) -> str:
        if self.namespace is not None:
            return f"{self.scheme}://{self.namespace}/{self.name}" + (f":{self.tag}" if self.tag else "")
        secret = f":{self.secret}" if self.secret else ""
        return f"{self.scheme}://{self.name}{secret}" + (f"/{self.tag}" if self.tag else "")


def _bad_uri(text: str, reason: str) -> BadName:
    allowed = "jinaai://namespace/name, jinaai://namespace/name:tag, jinahub://name, jinahub://name:secret/tag"
    return BadName("Executor", text, reason, allowed + ", each also with +docker and +sandbox in the scheme")
