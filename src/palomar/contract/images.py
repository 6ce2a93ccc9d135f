"""Names, digests and media types of container images, as the OCI specifications and Docker's clients write them.

A repository is ``namespace/path[/more]``; its first component is a namespace of the hub. Every pattern below runs in
linear time, and a length is looked at before a pattern is.
"""

from __future__ import annotations

import re
from typing import Final, Self

from palomar.contract.errors import BadDigest, BadName
from palomar.contract.names import Namespace, ResourceName

REPOSITORY_RULE = (
    "a namespace, then one or more components of lower-case letters and digits, separated by '/', each with single "
    "'.', '_', '__' or hyphens inside; at most 255 characters in all"
)
IMAGE_TAG_RULE = "1 to 128 letters, digits, '.', '_' and '-', not beginning with '.' or '-'"
DIGEST_RULE = "sha256: and 64, or sha512: and 128 lower-case hexadecimal digits"

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCTET_STREAM: Final = "application/octet-stream"

IMAGE_TYPES: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES: Final = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFEST_TYPES: Final = IMAGE_TYPES | INDEX_TYPES

# The wire's name of the namespace that old un-namespaced Executors live in: reserved, so nobody can own it.
LEGACY_ON_THE_WIRE: Final = "legacy"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
# What `image_path` makes of a short id: no Executor's own name may look like it.
_SHORT_ID_PATH: Final = re.compile(r"x-[0-9a-z]{8}", re.ASCII)
_NAME_LENGTH: Final = 255


class RepositoryName(str):
    """``namespace/path``, where the path may have slashes of its own."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadName."""
        if len(text) > _NAME_LENGTH:
            raise BadName("repository", text, f"it has {len(text)} characters", REPOSITORY_RULE)
        namespace, slash, path = text.partition("/")
        if not slash:
            raise BadName("repository", text, "it names no namespace", REPOSITORY_RULE)
        if not _PATH.fullmatch(path):
            raise BadName("repository", text, _reason(path), REPOSITORY_RULE)
        Namespace.parse(namespace)
        return cls(text)

    @property
    def namespace(self) -> Namespace:
        return Namespace(self.partition("/")[0])

    @property
    def path(self) -> str:
        return self.partition("/")[2]


def _reason(path: str) -> str:
    if path != path.lower() and _PATH.fullmatch(path.lower()):
        return f"it has upper-case letters, write {path.lower()!r}"
    return "a component is empty, or has other characters or misplaced separators"


class ImageDigest(str):
    """``sha256:...``, or ``sha512:...`` where a client prefers it."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadDigest."""
        if not _DIGEST.fullmatch(text):
            raise BadDigest(text)
        return cls(text)

    @classmethod
    def of_sha256(cls, hexadecimal: str) -> Self:
        return cls(f"sha256:{hexadecimal}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]


class ImageTag(str):
    """A movable name of a manifest."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadName."""
        if not _TAG.fullmatch(text):
            raise BadName("tag", text, "it is empty, too long or has other characters", IMAGE_TAG_RULE)
        return cls(text)


def parse_reference(text: str) -> ImageDigest | ImageTag:
    """What stands behind ``/manifests/``. A colon is in no tag, so what has one is meant as a digest."""
    return ImageDigest.parse(text) if ":" in text else ImageTag.parse(text)


def image_path(name: ResourceName, short_id: str) -> str:
    """The repository of an Executor's images within its namespace: its name in lower case, where that is allowed.

    Names that the OCI grammar has no room for ('My..Exec' cannot be, 'a-_b' and 'a.-b' can) become ``x-<short id>``,
    and so does a name that looks like that itself: two Executors of a namespace never share a repository.
    """
    path = name.key
    if not _PATH.fullmatch(path) or _SHORT_ID_PATH.fullmatch(path):
        return f"x-{short_id}"
    return path
