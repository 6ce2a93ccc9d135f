"""Blobs with their rows, as a finished push leaves them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from palomar.documents.chunks import chunk_digest, encode_zstd, join
from palomar.documents.facts import Encoding
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobInfo, BlobStore
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database


async def make_blob(
    database: Database,
    store: BlobStore,
    data: bytes,
    *,
    kind: BlobKind = BlobKind.OPAQUE,
    digest: str | None = None,
    encoding: str = "identity",
    raw_bytes: int | None = None,
    touched_at: datetime | None = None,
) -> BlobRow:
    """The bytes and their row, which nothing references."""
    row = BlobRow(
        kind=kind,
        digest=digest or sha256(data).hexdigest(),
        key=new_key(),
        encoding=encoding,
        stored_bytes=len(data),
        stored_digest=sha256(data).hexdigest(),
        raw_bytes=len(data) if raw_bytes is None else raw_bytes,
        touched_at=touched_at or utc_now(),
    )
    await store.put(row.key, data)
    async with database.write() as session:
        session.add(row)
    return row


async def make_chunk(database: Database, store: BlobStore, *documents: bytes) -> BlobRow:
    """A zstd chunk of these canonical documents."""
    raw = join(documents)
    return await make_blob(
        database,
        store,
        encode_zstd(raw),
        kind=BlobKind.CHUNK,
        digest=chunk_digest(raw),
        encoding=Encoding.ZSTD,
        raw_bytes=len(raw),
    )


async def stored_keys(store: BlobStore) -> set[str]:
    return {blob.key async for blob in store.list()}


class AgedStore:
    """A store whose blobs look a minute old: less than a lease allows for wrong clocks, and old to everybody else.

    ``ages`` makes single ones older still.
    """

    def __init__(self, store: BlobStore, ages: Mapping[str, timedelta] | None = None) -> None:
        self._store = store
        self._ages = ages or {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list(self, *, older_than: datetime | None = None) -> AsyncGenerator[BlobInfo, None]:
        async for blob in self._store.list():
            age = timedelta(minutes=1) + self._ages.get(blob.key, timedelta(0))
            aged = BlobInfo(blob.key, blob.size_bytes, blob.modified_at - age)
            if older_than is None or aged.modified_at < older_than:
                yield aged
