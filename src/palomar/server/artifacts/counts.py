"""How many live artifacts a namespace has, by kind: kept, because counting a million rows for every list is slow.

Every change of what is live goes through `note_live`, in the same transaction.
"""

from __future__ import annotations

from types import EllipsisType

from sqlalchemy import ForeignKey, String, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.artifacts.models import Artifact
from palomar.server.db.base import Base
from palomar.server.db.upsert import insert_missing


class ArtifactCount(Base):
    """``kind`` is empty for plain files, whose kind is null."""

    __tablename__ = "artifact_counts"

    namespace_id: Mapped[str] = mapped_column(ForeignKey("namespaces.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    live: Mapped[int] = mapped_column(default=0)


async def note_live(session: AsyncSession, artifact: Artifact, change: int) -> None:
    """``change`` is 1 when the artifact came to life, -1 when it was deleted."""
    key = {"namespace_id": artifact.namespace_id, "kind": artifact.kind or ""}
    await insert_missing(session, ArtifactCount, [{**key, "live": 0}])
    counted = update(ArtifactCount).where(
        ArtifactCount.namespace_id == key["namespace_id"], ArtifactCount.kind == key["kind"]
    )
    await session.execute(counted.values(live=ArtifactCount.live + change))


async def count_live(session: AsyncSession, namespace_id: str, kind: str | EllipsisType | None = ...) -> int:
    """Of one kind (None: plain files), or of all."""
    query = select(func.coalesce(func.sum(ArtifactCount.live), 0)).where(ArtifactCount.namespace_id == namespace_id)
    if kind is not ...:
        query = query.where(ArtifactCount.kind == (kind or ""))
    return await session.scalar(query) or 0
