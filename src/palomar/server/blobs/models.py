"""What the hub knows about stored bytes. The bytes themselves live in a blob store, under ``key``."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, NumericId


class BlobKind(StrEnum):
    """What ``digest`` is the SHA-256 of: a chunk's raw documents, or the stored bytes themselves.

    A part is a piece of an unfinished upload: its digest is drawn at random, so that no two parts are ever one row and
    nobody can come to count on it; ``stored_digest`` is its SHA-256 as everywhere.
    """

    CHUNK = "chunk"
    OPAQUE = "opaque"
    PART = "part"


class BlobRow(Base):
    """One row per content. Any table with a foreign key to ``blobs.id`` keeps its blobs from collection.

    A key is never used twice: content that is collected and pushed again gets a new key, so deleting the bytes of a
    removed row can never hit the bytes of a new one.
    """

    __tablename__ = "blobs"
    __table_args__ = (
        UniqueConstraint("kind", "digest"),
        Index("ix_blobs_touched_at", "touched_at"),
    )

    id: Mapped[NumericId]
    kind: Mapped[str] = mapped_column(String(8))
    digest: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(64), unique=True)
    encoding: Mapped[str] = mapped_column(String(16), default="identity")
    stored_bytes: Mapped[int] = mapped_column(BigInteger)
    # SHA-256 of the stored bytes, checked whenever they are read.
    stored_digest: Mapped[str] = mapped_column(String(64))
    raw_bytes: Mapped[int] = mapped_column(BigInteger)
    documents: Mapped[int] = mapped_column(BigInteger, default=0)
    # A chunk's size in an old client's stream, whatever its encoding.
    members_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[Created]
    # Last time a push counted on this row; collection spares what was touched within the grace period.
    touched_at: Mapped[Created]
