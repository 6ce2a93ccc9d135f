"""What goes in and out of the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from palomar.contract.images import ImageDigest
from palomar.server.blobs.verified import StoredBytes


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to content, as manifests have it."""

    media_type: str
    digest: ImageDigest
    size_bytes: int
    annotations: dict[str, str] | None = None
    artifact_type: str | None = None
    has_urls: bool = False

    def as_json(self) -> dict[str, Any]:
        """In the order in which the image specification lists the properties."""
        shown: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size_bytes}
        if self.annotations is not None:
            shown["annotations"] = self.annotations
        if self.artifact_type is not None:
            shown["artifactType"] = self.artifact_type
        return shown


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob of a repository, under the name that it was asked for by."""

    digest: ImageDigest
    size_bytes: int
    at: StoredBytes
    blob_id: int


@dataclass(frozen=True, slots=True)
class StoredManifest:
    digest: ImageDigest
    media_type: str
    content: bytes = field(repr=False)

    @property
    def size_bytes(self) -> int:
        return len(self.content)


@dataclass(frozen=True, slots=True)
class UploadState:
    id: str
    received_bytes: int


@dataclass(frozen=True, slots=True)
class PutResult:
    """``subject_digest`` is what the answer's OCI-Subject says."""

    digest: ImageDigest
    subject_digest: ImageDigest | None


@dataclass(frozen=True, slots=True)
class TagPage:
    names: list[str]
    has_more: bool


@dataclass(frozen=True, slots=True)
class ReferrerPage:
    """``next`` leads to the page after this one; None when this is the last."""

    descriptors: list[dict[str, Any]]
    next: str | None
