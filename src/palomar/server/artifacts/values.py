"""What goes into a push and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from palomar.contract.actions import Visibility
from palomar.documents.kinds import DocumentKind
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.blobs.staging import BlobName


@dataclass(frozen=True, slots=True)
class Content:
    """What was staged: an array with its manifest (``kind`` set), or an opaque file."""

    kind: DocumentKind | None
    blob: BlobName
    raw_bytes: int
    index: BlobName | None = None
    chunks: tuple[BlobName, ...] = ()
    documents: int = 0


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What the caller wants with the bytes. Without ``name`` and ``artifact_id`` a new, unnamed file is made.

    ``is_public`` None leaves an existing artifact as it is and gives a new one its namespace's default.
    ``base_version`` refuses the push when somebody pushed in between.
    """

    name: str | None = None
    artifact_id: str | None = None
    type: str | None = None
    is_public: bool | None = None
    metadata: dict[str, Any] | None = None
    message: str = ""
    base_version: int | None = None

    @property
    def is_document_array(self) -> bool:
        return self.type == DOCUMENT_ARRAY


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a push returns when bytes and rows are on disk. ``new_bytes`` is what this push added to the store."""

    artifact_id: str
    namespace: str
    name: str | None
    shown_name: str | None
    version: int
    digest: str
    documents: int
    raw_bytes: int
    stream_bytes: int
    new_bytes: int
    visibility: Visibility
    durable_at: datetime
