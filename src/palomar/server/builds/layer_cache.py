"""Layers that were built already, by the digest of what went into them.

A key says everything that the layer depends on (base, platform, pins with their hashes, the builder's version), so a
layer that is found is the one that a build would make. The row keeps its blob from collection until nobody has used it
for a while; the blob then stays as long as an image has it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, String, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from palomar.contract.errors import Busy
from palomar.contract.images import ImageDigest
from palomar.server.builds.layers import WrittenLayer
from palomar.server.db.base import Base
from palomar.server.db.columns import BigKey, Created, Json, utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.registry.models import RepositoryBlob
from palomar.server.registry.values import Descriptor

UNUSED_FOR: Final = timedelta(days=30)
# A layer that is used all the time is noted once in this while.
_NOTE_EVERY: Final = timedelta(hours=1)


class CachedLayerRow(Base):
    __tablename__ = "layer_cache"
    __table_args__ = (
        Index("ix_layer_cache_blob_id", "blob_id"),
        Index("ix_layer_cache_used_at", "used_at"),
    )

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(135))
    diff_id: Mapped[str] = mapped_column(String(135))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    unpacked_bytes: Mapped[int] = mapped_column(BigInteger)
    blob_id: Mapped[int] = mapped_column(BigKey, ForeignKey("blobs.id"))
    # What the build that made it has to say of it, to be said again by the builds that use it.
    facts: Mapped[Json]
    created_at: Mapped[Created]
    used_at: Mapped[Created]


@dataclass(frozen=True, slots=True)
class CachedLayer:
    layer: WrittenLayer
    blob_id: int
    facts: dict[str, Any]

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.layer.media_type, ImageDigest(self.layer.digest), self.layer.size_bytes)


def layer_key(**inputs: Any) -> str:
    """The digest of JSON values; whoever forgets one of a layer's inputs gets another build's layer."""
    told = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(told.encode()).hexdigest()


async def find_layer(database: Database, key: str) -> CachedLayer | None:
    """None for one that has to be built."""
    async with database.read() as session:
        row = await session.get(CachedLayerRow, key)
    if row is None:
        return None
    if row.used_at < utc_now() - _NOTE_EVERY:
        async with database.write() as session:
            await session.execute(update(CachedLayerRow).where(CachedLayerRow.key == key).values(used_at=utc_now()))
    layer = WrittenLayer(row.digest, row.diff_id, row.size_bytes, row.unpacked_bytes)
    return CachedLayer(layer, row.blob_id, row.facts)


async def use_layer(database: Database, cached: CachedLayer, *, repository_id: str) -> None:
    """Puts a found layer into a repository. Raises Busy when it was forgotten and collected meanwhile: build it."""
    now = utc_now()
    row = {
        "repository_id": repository_id,
        "digest": cached.layer.digest,
        "blob_id": cached.blob_id,
        "size_bytes": cached.layer.size_bytes,
        "is_base": False,
        "created_at": now,
        "touched_at": now,
    }
    named = (RepositoryBlob.repository_id == repository_id, RepositoryBlob.digest == cached.layer.digest)
    try:
        async with database.write() as session:
            await insert_missing(session, RepositoryBlob, [row])
            # What was there may be about to be purged for want of a manifest.
            await session.execute(update(RepositoryBlob).where(*named).values(touched_at=now))
    except IntegrityError as error:
        raise Busy("A cached layer of this build was removed meanwhile") from error


async def keep_layer(
    session: AsyncSession, key: str, layer: WrittenLayer, *, repository_id: str, facts: dict[str, Any] | None = None
) -> None:
    """Remembers a layer that the repository has. Of two builds of one key the first is remembered."""
    named = (RepositoryBlob.repository_id == repository_id, RepositoryBlob.digest == layer.digest)
    blob_id = (await session.scalars(select(RepositoryBlob.blob_id).where(*named))).one()
    now = utc_now()
    row = {
        "key": key,
        "digest": layer.digest,
        "diff_id": layer.diff_id,
        "size_bytes": layer.size_bytes,
        "unpacked_bytes": layer.unpacked_bytes,
        "blob_id": blob_id,
        "facts": facts or {},
        "created_at": now,
        "used_at": now,
    }
    await insert_missing(session, CachedLayerRow, [row])


async def forget_layer(session: AsyncSession, key: str) -> None:
    """For a build that is to use nothing of what earlier ones made."""
    await session.execute(delete(CachedLayerRow).where(CachedLayerRow.key == key))


async def prune_layers(database: Database, *, unused_for: timedelta = UNUSED_FOR) -> int:
    """Forgets what nobody has used for so long; collection removes the bytes that no image has. Returns how many."""
    async with database.write() as session:
        gone = delete(CachedLayerRow).where(CachedLayerRow.used_at < utc_now() - unused_for)
        return len((await session.execute(gone.returning(CachedLayerRow.key))).all())
