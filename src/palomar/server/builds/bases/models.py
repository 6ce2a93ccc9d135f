"""Base images that the operator added."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json

_IS_DEFAULT = text("is_default")

# Where they are kept, in a repository each: a namespace that nobody can name, because '_' is not allowed in names.
BASES_NAMESPACE = "_bases"


class BaseImageRow(Base):
    """One name and what it stands for now. Images that were built on what it stood for before keep their layers."""

    __tablename__ = "base_images"
    __table_args__ = (
        Index("ix_base_images_repository_id", "repository_id"),
        # There is one default at most.
        Index(
            "uq_base_images_is_default",
            "is_default",
            unique=True,
            sqlite_where=_IS_DEFAULT,
            postgresql_where=_IS_DEFAULT,
        ),
    )

    id: Mapped[Id]
    # A whole reference, as docker.io/library/python:3.11-slim.
    name: Mapped[str] = mapped_column(String(400), unique=True)
    repository_id: Mapped[str] = mapped_column(ForeignKey("repositories.id"))
    # Of the manifest, or of the index where there are several platforms.
    digest: Mapped[str] = mapped_column(String(135))
    is_default: Mapped[bool] = mapped_column(default=False)
    # Of its first platform, to be shown: '3.11' and 'glibc 2.36'.
    python: Mapped[str] = mapped_column(String(16))
    libc: Mapped[str] = mapped_column(String(32))
    # What every platform consists of, see `values.Base`.
    facts: Mapped[Json]
    created_at: Mapped[Created]
