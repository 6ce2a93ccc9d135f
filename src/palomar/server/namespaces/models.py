"""Namespaces: who owns a name, and how visible what lives in it may be."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from palomar.contract.actions import Visibility
from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Moment

# Old un-namespaced arrays live in a namespace that no one can name: '_' is not allowed in names.
LEGACY_NAMESPACE = "_legacy"


class NamespaceRow(Base):
    """A row is never deleted: ``retired_at`` makes it the tombstone that keeps the name from everybody else."""

    __tablename__ = "namespaces"
    __table_args__ = (Index("ix_namespaces_owner_id", "owner_id"),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(39), unique=True)
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    default_visibility: Mapped[str] = mapped_column(String(8), default=Visibility.PUBLIC)
    visibility_ceiling: Mapped[str] = mapped_column(String(8), default=Visibility.PUBLIC)
    # Whether a push under a version tag that breaks its users is refused, or only warned of.
    refuse_breaking: Mapped[bool] = mapped_column(default=False, server_default=false())
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[Created]
    retired_at: Mapped[Moment | None]
