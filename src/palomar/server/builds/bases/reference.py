"""References to images as Docker's clients write them, and the one form in which two of them can be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self

_HOST: Final = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9a-fA-F:]{2,45}\](?::[0-9]{1,5})?", re.ASCII
)
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
_MAX_LENGTH: Final = 255

# What a reference without a host means to every client.
DEFAULT_HOST: Final = "docker.io"
_DEFAULT_HOSTS: Final = frozenset({DEFAULT_HOST, "index.docker.io"})
_DEFAULT_TAG: Final = "latest"


@dataclass(frozen=True, slots=True)
class Reference:
    """``python:3.11`` has the host docker.io and the path library/python. One with neither tag nor digest is latest."""

    host: str
    path: str
    tag: str | None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with one sentence."""
        if len(text) > 2 * _MAX_LENGTH:
            raise ValueError("the reference is too long")
        rest, at, digest = text.partition("@")
        rest, tag = _split_tag(rest)
        host, path = _split_host(rest)
        is_good = _HOST.fullmatch(host) and len(path) <= _MAX_LENGTH and _PATH.fullmatch(path)
        if not is_good or (at and not _DIGEST.fullmatch(digest)) or (tag is not None and not _TAG.fullmatch(tag)):
            raise ValueError(f"{text[:200]!a} is not a reference to an image such as python:3.11-slim")
        return cls(host, path, tag or (None if at else _DEFAULT_TAG), digest or None)

    @property
    def name(self) -> str:
        """Without the digest; what a base is called."""
        return f"{self.host}/{self.path}" + (f":{self.tag}" if self.tag else "")

    @property
    def without_digest(self) -> Self:
        return replace(self, digest=None, tag=self.tag or _DEFAULT_TAG)

    def __str__(self) -> str:
        return self.name + (f"@{self.digest}" if self.digest else "")


def _split_tag(text: str) -> tuple[str, str | None]:
    """A colon before the last slash belongs to a port."""
    head, colon, tag = text.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (text, None)


def _split_host(text: str) -> tuple[str, str]:
    """The part before the first slash is a host if it cannot be part of a path, as the clients decide it."""
    first, slash, rest = text.partition("/")
    is_host = first == "localhost" or any(sign in first for sign in ".:") or first != first.lower()
    host, path = (first.lower(), rest) if slash and is_host else (DEFAULT_HOST, text)
    if host not in _DEFAULT_HOSTS:
        return host, path
    return DEFAULT_HOST, path if "/" in path else f"library/{path}"
