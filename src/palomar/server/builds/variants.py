"""Which image of a release a caller needs: the two generations of docarray cannot talk to each other.

A variant differs from another one of the same release in jina and docarray, in the platforms, in the base, or in how
the hub makes images; its key is a digest of all of these.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Final, NamedTuple

from packaging.version import InvalidVersion, Version

# Part of every key. Raise it when a builder makes something else of the same inputs.
FORMAT: Final = 1
_MAX_VERSION: Final = 40


class Versions(NamedTuple):
    jina: str
    docarray: str


DEFAULT_VERSIONS: Final = Versions("3.34.0", "0.21.0")


class AskedVersions(NamedTuple):
    """What a caller says of itself, or None."""

    jina: str | None = None
    docarray: str | None = None

    @classmethod
    def of(cls, *, jina: str | None, docarray: str | None) -> AskedVersions:
        """Of what came in a request's headers; what is no plain version counts as not said."""
        return cls(plain_version(jina), plain_version(docarray))

    def or_else(self, first: Versions | None) -> Versions:
        """``first`` are those of the release's first build: whoever says nothing gets what its owner pushed for."""
        known = first or DEFAULT_VERSIONS
        return Versions(self.jina or known.jina, self.docarray or known.docarray)


def plain_version(text: str | None) -> str | None:
    """In its normal form. A local version (1.0+mine) is on no index, so it counts as none."""
    if text is None or len(text) > _MAX_VERSION or not text.isascii():
        return None
    try:
        version = Version(text)
    except InvalidVersion:
        return None
    return None if version.local else str(version)


@dataclass(frozen=True, slots=True)
class Variant:
    """``platforms`` as linux/amd64; ``base_digest`` is empty where a Dockerfile says on what it stands."""

    versions: Versions
    platforms: tuple[str, ...]
    base_digest: str
    builder: str

    @property
    def platform(self) -> str:
        return ",".join(self.platforms)

    @property
    def key(self) -> str:
        inputs = {"format": FORMAT, **asdict(self)}
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
