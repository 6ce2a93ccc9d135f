"""What happened, for ever: one append-only table."""

from __future__ import annotations

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Json, NumericId


class Event(Base):
    """No foreign keys: an event outlives what it speaks of. ``details`` never holds a secret."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_namespace_id_id", "namespace_id", "id"),
        Index("ix_events_account_id_id", "account_id", "id"),
    )

    id: Mapped[NumericId]
    at: Mapped[Created]
    kind: Mapped[str] = mapped_column(String(48))
    account_id: Mapped[str | None] = mapped_column(String(32))
    namespace_id: Mapped[str | None] = mapped_column(String(32))
    subject_id: Mapped[str | None] = mapped_column(String(32))
    request_id: Mapped[str | None] = mapped_column(String(64))
    details: Mapped[Json]
