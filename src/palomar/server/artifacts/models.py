"""Artifacts (DocumentArrays and opaque files) and their immutable versions."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json, Moment

DOCUMENT_ARRAY = "documentArray"


class Artifact(Base):
    """A name (or, for an opaque artifact, only an id) whose content is its newest version.

    The row is never deleted: ``deleted_at`` makes it a tombstone, and a push by the owner revives it, so version
    numbers go on and never mean two things.
    """

    __tablename__ = "artifacts"
    __table_args__ = (
        UniqueConstraint("namespace_id", "name_key"),
        # The columns a list is sorted by, after its namespace: a page of 50 costs the same among a million.
        Index("ix_artifacts_namespace_id_created_at", "namespace_id", "created_at", "id"),
        Index("ix_artifacts_namespace_id_updated_at", "namespace_id", "updated_at", "id"),
        Index("ix_artifacts_namespace_id_kind_created_at", "namespace_id", "kind", "created_at", "id"),
        Index("ix_artifacts_kind_created_at", "kind", "created_at", "id"),
        Index("ix_artifacts_deleted_at", "deleted_at"),
    )

    id: Mapped[Id]
    namespace_id: Mapped[str] = mapped_column(ForeignKey("namespaces.id"))
    name: Mapped[str | None] = mapped_column(String(255))
    name_key: Mapped[str | None] = mapped_column(String(255))
    # Whether the owner wrote the name without a namespace: lists must echo it as it was pushed.
    is_bare: Mapped[bool] = mapped_column(default=False)
    kind: Mapped[str | None] = mapped_column(String(64))
    visibility: Mapped[str] = mapped_column(String(8))
    metadata_json: Mapped[Json | None] = mapped_column("metadata")
    version: Mapped[int] = mapped_column(default=0)
    documents: Mapped[int] = mapped_column(BigInteger, default=0)
    raw_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    # An imported legacy array that belonged to somebody stays theirs to read; others read it if it is public.
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    updated_at: Mapped[Created]
    deleted_at: Mapped[Moment | None]


class Version(Base):
    """One pushed state, never changed. ``stream_bytes`` is the exact length of what an old client downloads."""

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("artifact_id", "number"),
        # Old clients trust a cached file of equal length. Empty arrays are all alike and cannot be padded.
        Index(
            "uq_versions_artifact_id_stream_bytes",
            "artifact_id",
            "stream_bytes",
            unique=True,
            sqlite_where=text("documents > 0"),
            postgresql_where=text("documents > 0"),
        ),
        Index("ix_versions_content_id", "content_id"),
        Index("ix_versions_index_id", "index_id"),
    )

    id: Mapped[Id]
    artifact_id: Mapped[str] = mapped_column(ForeignKey("artifacts.id"))
    number: Mapped[int]
    # 'v1' or 'v2' for DocumentArrays, null for opaque bytes.
    document_kind: Mapped[str | None] = mapped_column(String(4))
    # Of the manifest, or of the opaque bytes.
    digest: Mapped[str] = mapped_column(String(64))
    content_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"))
    index_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"))
    documents: Mapped[int] = mapped_column(BigInteger, default=0)
    raw_bytes: Mapped[int] = mapped_column(BigInteger)
    # Bytes that this push added to the store: what was there before costs nothing.
    new_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    stream_bytes: Mapped[int] = mapped_column(BigInteger)
    padding_bytes: Mapped[int] = mapped_column(default=0)
    metadata_json: Mapped[Json | None] = mapped_column("metadata")
    message: Mapped[str] = mapped_column(String(500), default="")
    pushed_by: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    # Set when the content was given up after the undelete window; the number stays taken.
    purged_at: Mapped[Moment | None]


class VersionChunk(Base):
    """Which chunks a version needs: what collection spares, and what a namespace itself already references."""

    __tablename__ = "version_chunks"
    __table_args__ = (
        Index("ix_version_chunks_blob_id", "blob_id"),
        {"sqlite_with_rowid": False},
    )

    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    blob_id: Mapped[int] = mapped_column(ForeignKey("blobs.id"), primary_key=True)
