"""From bytes in the store to rows that name them, in one transaction; and what becomes of the bytes when it fails."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import Busy, DigestMismatch
from palomar.contract.images import ImageDigest
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.db.columns import utc_now
from palomar.server.db.upsert import insert_missing
from palomar.server.registry.blobs import Link
from palomar.server.registry.sink import Stored

log = structlog.get_logger("palomar.registry")

_ATTEMPTS = 3


@dataclass(slots=True)
class Leftovers:
    """Keys of bytes to delete: ``staged`` unless a transaction took them over, ``dropped`` once it is committed."""

    staged: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)

    def hand_over(self, key: str) -> None:
        """The last step of a transaction. Whether its COMMIT took effect may never be known (a cancelled caller, a
        broken connection), so what its rows may name is not thrown away from here on; collection finds the rest.
        """
        self.staged.discard(key)


@asynccontextmanager
async def tidying(store: BlobStore) -> AsyncIterator[Leftovers]:
    """Deletes at the end what nobody names."""
    leftovers = Leftovers()
    try:
        yield leftovers
    except BaseException:
        await asyncio.shield(_delete(store, leftovers.staged))
        raise
    await asyncio.shield(_delete(store, leftovers.staged | leftovers.dropped))


async def _delete(store: BlobStore, keys: Iterable[str]) -> None:
    for key in keys:
        try:
            await store.delete(key)
        except Exception:
            # Bytes without a row: collection finds them after the grace period.
            log.warning("bytes of an upload not deleted", key=key, exc_info=True)


def blob_row(kind: BlobKind, digest: str, stored: Stored) -> dict[str, Any]:
    now = utc_now()
    return {
        "kind": kind,
        "digest": digest,
        "key": stored.key,
        "encoding": "identity",
        "stored_bytes": stored.size_bytes,
        "stored_digest": stored.sha256,
        "raw_bytes": stored.size_bytes,
        "documents": 0,
        "members_bytes": 0,
        "created_at": now,
        "touched_at": now,
    }


async def add_part(session: AsyncSession, stored: Stored) -> int:
    """The id of a new row of its own kind, which nobody else can come to count on."""
    row = BlobRow(**blob_row(BlobKind.PART, secrets.token_hex(32), stored))
    session.add(row)
    await session.flush()
    return row.id


async def adopt(session: AsyncSession, stored: Stored, digest: ImageDigest, leftovers: Leftovers) -> Link:
    """The row of this content, made from the bytes at hand unless the hub has it already. Raises Busy."""
    named = select(BlobRow.id, BlobRow.key).where(BlobRow.kind == BlobKind.OPAQUE, BlobRow.digest == stored.sha256)
    for _ in range(_ATTEMPTS):
        await insert_missing(session, BlobRow, [blob_row(BlobKind.OPAQUE, stored.sha256, stored)])
        # Locked, so that collection leaves a row alone that nothing else references yet.
        row = (await session.execute(named.with_for_update(read=True, key_share=True))).first()
        if row is not None:
            if row.key != stored.key:
                leftovers.dropped.add(stored.key)
            return Link(digest, row.id, stored.size_bytes)
    raise Busy("What this push counts on was removed meanwhile")


async def drop_parts(session: AsyncSession, blob_ids: Iterable[int]) -> list[str]:
    """Rows of parts that nothing references any more; returns the keys of their bytes."""
    gone = delete(BlobRow).where(BlobRow.id.in_(list(blob_ids)), BlobRow.kind == BlobKind.PART).returning(BlobRow.key)
    return list((await session.scalars(gone)).all())


async def check_digest(store: BlobStore, stored: Stored, digest: ImageDigest) -> None:
    """Raises DigestMismatch. Of sha512 nothing is known before somebody asks, so the bytes are read once more."""
    actual = ImageDigest.of_sha256(stored.sha256)
    if digest.algorithm != "sha256":
        actual = await _sha512(store, stored)
    if actual != digest:
        raise DigestMismatch(digest, actual)


async def _sha512(store: BlobStore, stored: Stored) -> ImageDigest:
    digest = hashlib.sha512()
    at = StoredBytes(stored.key, stored.size_bytes, stored.sha256)
    async with aclosing(stream_verified(store, at)) as blocks:
        async for block in blocks:
            await asyncio.to_thread(digest.update, block)
    return ImageDigest(f"sha512:{digest.hexdigest()}")
