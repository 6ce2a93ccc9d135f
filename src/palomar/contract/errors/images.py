"""Refusals of the image registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from palomar.contract.errors.base import shorten
from palomar.contract.errors.requests import InvalidInput, NotFound
from palomar.contract.errors.state import Conflict, LimitExceeded

_SHOWN = 5


@dataclass(eq=False)
class BadDigest(InvalidInput):
    value: str

    code: ClassVar[str] = "bad-digest"
    title: ClassVar[str] = "The digest is not valid"

    @property
    def detail(self) -> str:
        rule = "sha256: and 64, or sha512: and 128 lower-case hexadecimal digits"
        return f"{shorten(self.value)!r} is not a digest that this hub knows. Allowed: {rule}."


@dataclass(eq=False)
class BlobUploadInvalid(InvalidInput):
    """An upload whose bytes are fewer or more than its request said."""

    reason: str

    code: ClassVar[str] = "blob-upload-invalid"
    title: ClassVar[str] = "The upload cannot be accepted"

    @property
    def detail(self) -> str:
        return f"The upload cannot be accepted: {self.reason}. Nothing of this request was stored; send it again."


@dataclass(eq=False)
class ManifestInvalid(InvalidInput):
    reason: str

    code: ClassVar[str] = "manifest-invalid"
    title: ClassVar[str] = "The manifest cannot be accepted"

    @property
    def detail(self) -> str:
        return f"The manifest cannot be accepted: {self.reason}. Nothing was stored."


@dataclass(eq=False)
class ManifestIncomplete(ManifestInvalid):
    """``missing`` are the digests of blobs or manifests that the repository lacks."""

    missing: list[str]

    code: ClassVar[str] = "manifest-incomplete"
    title: ClassVar[str] = "The manifest names what the repository lacks"

    @property
    def detail(self) -> str:
        listed = ", ".join(self.missing[:_SHOWN])
        more = len(self.missing) - _SHOWN
        rest = f" and {more} more" if more > 0 else ""
        return f"{super().detail} The repository lacks {listed}{rest}: push them first."


@dataclass(eq=False)
class RepositoryUnknown(NotFound):
    code: ClassVar[str] = "repository-unknown"
    title: ClassVar[str] = "No such repository"


@dataclass(eq=False)
class ImageBlobUnknown(NotFound):
    code: ClassVar[str] = "image-blob-unknown"
    title: ClassVar[str] = "No such blob in this repository"


@dataclass(eq=False)
class ManifestUnknown(NotFound):
    code: ClassVar[str] = "manifest-unknown"
    title: ClassVar[str] = "No such manifest in this repository"


@dataclass(eq=False)
class UploadUnknown(NotFound):
    """It never was, it is done or cancelled, it has run out, or it belongs to another repository or caller."""

    code: ClassVar[str] = "upload-unknown"
    title: ClassVar[str] = "No such upload"


@dataclass(eq=False)
class UploadOutOfOrder(Conflict):
    """``received_bytes`` is where the next chunk must begin."""

    received_bytes: int

    code: ClassVar[str] = "upload-out-of-order"
    title: ClassVar[str] = "The chunk does not begin where the upload stands"

    @property
    def detail(self) -> str:
        return f"The upload has {self.received_bytes:,} bytes: the next chunk must begin there."


@dataclass(eq=False)
class ImageBlobInUse(Conflict):
    """A blob that a manifest of the repository names: without it the manifest would promise what cannot be pulled."""

    digest: str

    code: ClassVar[str] = "image-blob-in-use"
    title: ClassVar[str] = "A manifest needs the blob"

    @property
    def detail(self) -> str:
        return f"A manifest of the repository needs the blob {self.digest}: delete the manifest first."


@dataclass(eq=False)
class TooManyUploads(LimitExceeded):
    limit: int

    code: ClassVar[str] = "too-many-uploads"
    title: ClassVar[str] = "Too many uploads are open"

    @property
    def detail(self) -> str:
        return f"The namespace has {self.limit:,} open uploads, and no more are allowed: finish or cancel some first."
