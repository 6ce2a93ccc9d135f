"""Repositories of images, what is in them, and uploads that are under way.

Foreign keys hold what no handler has to remember: a manifest's blobs cannot leave its repository, whoever deletes them
and when. All bytes but those of manifests are in ``blobs``; a digest is looked up in a repository, never there.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import BigKey, Created, Id, Json


def _byte_ordered(length: int) -> String:
    """Text that is compared and ordered by its bytes, as SQLite does anyhow: clients page through tags that way."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


# 'sha512:' and 128 digits.
_Digest = String(135)


class Repository(Base):
    """``namespace/path``. Linked to an Executor, it is as visible as that one, and absent when that one is deleted."""

    __tablename__ = "repositories"
    __table_args__ = (
        UniqueConstraint("namespace_id", "path"),
        Index("ix_repositories_executor_id", "executor_id"),
    )

    id: Mapped[Id]
    namespace_id: Mapped[str] = mapped_column(ForeignKey("namespaces.id"))
    path: Mapped[str] = mapped_column(_byte_ordered(255))
    executor_id: Mapped[str | None] = mapped_column(ForeignKey("executors.id"))
    # Of its own; without meaning while there is an Executor.
    visibility: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[Created]


class RepositoryBlob(Base):
    """A blob under one of its names. The same bytes may be here twice, as sha256 and as sha512."""

    __tablename__ = "repository_blobs"
    __table_args__ = (
        Index("ix_repository_blobs_blob_id", "blob_id"),
        Index("ix_repository_blobs_touched_at", "touched_at"),
    )

    repository_id: Mapped[str] = mapped_column(ForeignKey("repositories.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(_Digest, primary_key=True)
    blob_id: Mapped[int] = mapped_column(BigKey, ForeignKey("blobs.id"))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    # A layer of a base image, which the operator added: it does not count in the namespace's quota.
    is_base: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[Created]
    # When a push last counted on it, or a manifest let go of it: purging spares it for the grace period from then on.
    touched_at: Mapped[Created]


class ImageManifest(Base):
    """A manifest or an index, byte for byte as it was pushed."""

    __tablename__ = "image_manifests"
    __table_args__ = (
        UniqueConstraint("repository_id", "digest"),
        Index("ix_image_manifests_repository_id_subject_digest", "repository_id", "subject_digest"),
    )

    id: Mapped[Id]
    repository_id: Mapped[str] = mapped_column(ForeignKey("repositories.id"))
    digest: Mapped[str] = mapped_column(_Digest)
    media_type: Mapped[str] = mapped_column(String(255))
    # As the list of referrers shows it: that of the manifest or, failing that, of its config; None for a plain index.
    artifact_type: Mapped[str | None] = mapped_column(String(255))
    content: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    subject_digest: Mapped[str | None] = mapped_column(_Digest)
    annotations: Mapped[Json | None]
    created_at: Mapped[Created]


class ManifestBlob(Base):
    """The config and the layers of a manifest, as far as the repository has them."""

    __tablename__ = "manifest_blobs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["repository_id", "digest"], ["repository_blobs.repository_id", "repository_blobs.digest"]
        ),
        Index("ix_manifest_blobs_repository_id_digest", "repository_id", "digest"),
    )

    manifest_id: Mapped[str] = mapped_column(ForeignKey("image_manifests.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(_Digest, primary_key=True)
    repository_id: Mapped[str] = mapped_column(String(32))


class ManifestChild(Base):
    """What an index lists. No foreign key to the child: its owner may delete it, and the index becomes a sparse one."""

    __tablename__ = "manifest_children"

    manifest_id: Mapped[str] = mapped_column(ForeignKey("image_manifests.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(_Digest, primary_key=True)


class TagRow(Base):
    """A name of a manifest. A protected one never moves, and stays as long as its Executor: the table's own rule."""

    __tablename__ = "image_tags"
    __table_args__ = (Index("ix_image_tags_manifest_id", "manifest_id"),)

    repository_id: Mapped[str] = mapped_column(ForeignKey("repositories.id"), primary_key=True)
    name: Mapped[str] = mapped_column(_byte_ordered(128), primary_key=True)
    manifest_id: Mapped[str] = mapped_column(ForeignKey("image_manifests.id"))
    is_protected: Mapped[bool] = mapped_column(default=False)
    moved_at: Mapped[Created]


class ImageUpload(Base):
    """An upload that is under way. All of its state is rows, so another replica or a later process goes on with it."""

    __tablename__ = "image_uploads"
    __table_args__ = (
        Index("ix_image_uploads_repository_id", "repository_id"),
        Index("ix_image_uploads_account_id", "account_id"),
        Index("ix_image_uploads_touched_at", "touched_at"),
    )

    id: Mapped[Id]
    repository_id: Mapped[str] = mapped_column(ForeignKey("repositories.id"))
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    received_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    parts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Created]
    touched_at: Mapped[Created]


class UploadPart(Base):
    """What one request brought; parts are numbered from 0 and lie end to end."""

    __tablename__ = "image_upload_parts"
    __table_args__ = (Index("ix_image_upload_parts_blob_id", "blob_id"),)

    upload_id: Mapped[str] = mapped_column(ForeignKey("image_uploads.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    blob_id: Mapped[int] = mapped_column(BigKey, ForeignKey("blobs.id"))
    start: Mapped[int] = mapped_column(BigInteger)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
