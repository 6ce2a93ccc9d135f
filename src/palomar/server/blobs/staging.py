"""Bytes of a push before it has a name: stored at once, known to nobody, adopted by its commit or thrown away.

A staged blob has no row until the commit, so no other push can come to count on it and a failed push may delete what
it stored without asking anybody. What the hub has already is not stored again; its row is touched, which together
with the push's lease keeps it from collection until the commit references it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import Busy
from palomar.documents.facts import ChunkFacts, SealedChunk
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.leases import Lease, check_lease
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobStore, BlobWriter
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing

log = structlog.get_logger("palomar.artifacts")

_PARALLEL_PUTS = 4
_DIGESTS_PER_QUERY = 500

BlobName = tuple[BlobKind, str]


@dataclass(frozen=True, slots=True)
class AdoptedBlob:
    """A blob that the committing transaction may reference."""

    id: int
    stored_bytes: int
    members_bytes: int
    # Whether its bytes are the very ones that this push stored.
    is_staged: bool


class Staging:
    """The blobs of one push. One batch of chunks may be added while something else is streamed."""

    def __init__(self, database: Database, store: BlobStore, *, lease: Lease) -> None:
        self._database = database
        self._store = store
        self._lease = lease
        self._named: set[BlobName] = set()
        self._rows: dict[BlobName, dict[str, object]] = {}
        self._keys: list[str] = []

    def count_on(self, names: Iterable[BlobName]) -> None:
        """Names that have rows already, to be adopted with the rest."""
        self._named.update(names)

    async def add_chunks(self, chunks: Sequence[SealedChunk]) -> None:
        """Durable on return, unless the hub has them already."""
        unknown = await self._unknown((BlobKind.CHUNK, chunk.facts.digest) for chunk in chunks)
        # One of each: equal chunks may stand side by side.
        missing = {chunk.facts.digest: chunk for chunk in chunks if (BlobKind.CHUNK, chunk.facts.digest) in unknown}
        limit = asyncio.Semaphore(_PARALLEL_PUTS)
        try:
            async with asyncio.TaskGroup() as group:
                for chunk in missing.values():
                    group.create_task(self._put_chunk(chunk, limit))
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def add_opaque(self, data: bytes) -> BlobName:
        """A manifest, an index: named by the digest of its bytes."""
        name = (BlobKind.OPAQUE, hashlib.sha256(data).hexdigest())
        if name in await self._unknown([name]):
            await self._put(name, data, stored_digest=name[1], facts=None)
        return name

    def stream(self) -> StagedStream:
        """For what is too large to hold: its name is known only at its end."""
        return StagedStream(self, self._store)

    async def read_back(self, name: BlobName) -> AsyncIterator[bytes]:
        """What was streamed here, or is stored as well; and it is not adopted any more."""
        row = self._rows.pop(name, None)
        self._named.discard(name)
        key = str(row["key"]) if row else await self._stored_key(name)
        async for block in self._store.stream(key):
            yield block

    async def _stored_key(self, name: BlobName) -> str:
        query = select(BlobRow.key).where(BlobRow.kind == name[0], BlobRow.digest == name[1])
        async with self._database.read() as session:
            return (await session.scalars(query)).one()

    async def adopt(self, session: AsyncSession) -> dict[BlobName, AdoptedBlob]:
        """Gives every staged blob its row, in the transaction that goes on to reference it. Raises Busy."""
        await check_lease(session, self._lease)
        # In one order for everybody: two pushes of the same content would otherwise wait for each other.
        await insert_missing(session, BlobRow, [self._rows[name] for name in sorted(self._rows)])
        adopted: dict[BlobName, AdoptedBlob] = {}
        names = list(self._named)
        for start in range(0, len(names), _DIGESTS_PER_QUERY):
            adopted.update(await self._read_back(session, names[start : start + _DIGESTS_PER_QUERY]))
        if len(adopted) < len(names):
            raise Busy("What this push counts on was removed meanwhile")
        return adopted

    async def _read_back(self, session: AsyncSession, names: Sequence[BlobName]) -> dict[BlobName, AdoptedBlob]:
        columns = (BlobRow.kind, BlobRow.digest, BlobRow.id, BlobRow.key, BlobRow.stored_bytes, BlobRow.members_bytes)
        rows = await session.execute(select(*columns).where(tuple_(BlobRow.kind, BlobRow.digest).in_(names)))
        found: dict[BlobName, AdoptedBlob] = {}
        for kind, digest, blob_id, key, stored_bytes, members_bytes in rows:
            name = (BlobKind(kind), digest)
            is_staged = name in self._rows and self._rows[name]["key"] == key
            found[name] = AdoptedBlob(blob_id, stored_bytes, members_bytes, is_staged)
        return found

    def hand_over(self, adopted: dict[BlobName, AdoptedBlob]) -> None:
        """The last step of the committing transaction: what its rows name is not this push's any more.

        Whether a COMMIT took effect is not known when it is cancelled or its connection breaks. So the bytes that rows
        may name are never thrown away from here on; if the rows did not come to be, collection finds the bytes.
        """
        named = {row["key"] for name, row in self._rows.items() if adopted[name].is_staged}
        self._keys = [key for key in self._keys if key not in named]

    async def discard(self) -> None:
        """Nobody knows these bytes, and nobody ever will: the push failed, or they are copies of what was there."""
        keys, self._keys = self._keys, []
        await self._delete(keys)

    async def _delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            try:
                await self._store.delete(key)
            except Exception:
                # Bytes without a row: collection finds them after the grace period.
                log.warning("staged bytes not deleted", key=key, exc_info=True)

    async def _unknown(self, names: Iterable[BlobName]) -> set[BlobName]:
        """Those which are neither staged nor stored; what is stored is touched."""
        fresh = set(names) - self._named
        if not fresh:
            return set()
        self._named |= fresh
        async with self._database.read() as session:
            columns = (BlobRow.kind, BlobRow.digest, BlobRow.id, BlobRow.touched_at)
            query = select(*columns).where(tuple_(BlobRow.kind, BlobRow.digest).in_(list(fresh)))
            rows = (await session.execute(query)).all()
        stale = [row.id for row in rows if row.touched_at < self._lease.started_at]
        kept = await self._touch(stale)
        gone = set(stale) - kept
        return fresh - {(BlobKind(row.kind), row.digest) for row in rows if row.id not in gone}

    async def _touch(self, ids: Sequence[int]) -> set[int]:
        """Those that were still there."""
        if not ids:
            return set()
        touched = update(BlobRow).where(BlobRow.id.in_(ids)).values(touched_at=utc_now()).returning(BlobRow.id)
        async with self._database.write() as session:
            return set((await session.scalars(touched)).all())

    async def _put_chunk(self, chunk: SealedChunk, limit: asyncio.Semaphore) -> None:
        async with limit:
            stored_digest = await asyncio.to_thread(_sha256, chunk.stored)
            name = (BlobKind.CHUNK, chunk.facts.digest)
            await self._put(name, chunk.stored, stored_digest=stored_digest, facts=chunk.facts)

    async def _put(self, name: BlobName, data: bytes, *, stored_digest: str, facts: ChunkFacts | None) -> None:
        key = new_key()
        # Noted before the bytes exist: a put that is cancelled may or may not have happened.
        self._keys.append(key)
        await self._store.put(key, data)
        self._rows[name] = _row(name, key, len(data), stored_digest, facts)

    async def finish_stream(self, name: BlobName, row: dict[str, object]) -> None:
        """Takes over what a `StagedStream` has stored; a copy of something known is dropped again."""
        if name in self._rows or name not in await self._unknown([name]):
            await self._delete([str(row["key"])])
            return
        self._rows[name] = row

    def note_key(self, key: str) -> None:
        self._keys.append(key)


class StagedStream:
    """One blob written in pieces. Leaving it without ``close`` throws the pieces away."""

    def __init__(self, staging: Staging, store: BlobStore) -> None:
        self._staging = staging
        self._key = new_key()
        self._context: AbstractAsyncContextManager[BlobWriter] = store.writer(self._key)
        self._digest = hashlib.sha256()
        self.written_bytes = 0

    async def __aenter__(self) -> Self:
        self._writer = await self._context.__aenter__()
        self._staging.note_key(self._key)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._context.__aexit__(kind, error, trace)

    async def write(self, data: bytes) -> None:
        self.written_bytes += len(data)
        self._digest.update(data)
        await self._writer.write(data)

    async def close_chunk(self, facts: ChunkFacts) -> BlobName:
        return await self._close((BlobKind.CHUNK, facts.digest), facts)

    async def close_opaque(self) -> BlobName:
        return await self._close((BlobKind.OPAQUE, self._digest.hexdigest()), None)

    async def _close(self, name: BlobName, facts: ChunkFacts | None) -> BlobName:
        await self._writer.commit()
        row = _row(name, self._key, self.written_bytes, self._digest.hexdigest(), facts)
        await self._staging.finish_stream(name, row)
        return name


def _row(
    name: BlobName, key: str, stored_bytes: int, stored_digest: str, facts: ChunkFacts | None
) -> dict[str, object]:
    now = utc_now()
    return {
        "kind": name[0],
        "digest": name[1],
        "key": key,
        "encoding": facts.encoding if facts else "identity",
        "stored_bytes": stored_bytes,
        "stored_digest": stored_digest,
        "raw_bytes": facts.raw_bytes if facts else stored_bytes,
        "documents": facts.documents if facts else 0,
        "members_bytes": facts.members_bytes if facts else 0,
        "created_at": now,
        "touched_at": now,
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
