"""The scrub: every stored byte is read again and compared with what it should be.

Disks forget without saying so. A blob that is damaged or missing is logged, counted and recorded as an event; nothing
is removed, since a copy may exist elsewhere and the operator decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Protocol

import structlog
from prometheus_client import Counter
from sqlalchemy import select

from palomar.contract.errors import DataCorrupt
from palomar.documents.chunking import LENGTH_BYTES, MAX_DOCUMENT_BYTES
from palomar.documents.chunks import chunk_digest, raw_of
from palomar.documents.facts import LENGTH, Encoding
from palomar.documents.large import MemberInflater
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobMissing, BlobStore
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record

log = structlog.get_logger("palomar.blobs")

_CORRUPT = Counter("palomar_corrupt_blobs_total", "Blobs that a scrub found damaged or missing.")
_BATCH = 500
_PROGRESS_EVERY = 10_000


@dataclass(slots=True)
class Scrubbed:
    """What was checked, and how much of it is damaged or missing."""

    blobs: int = 0
    blob_bytes: int = 0
    corrupt: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Scrubber:
    """Checks every blob once; ``max_bytes_per_s`` leaves the disk to the pulls."""

    def __init__(self, database: Database, store: BlobStore, *, max_bytes_per_s: int | None = None) -> None:
        self._database = database
        self._store = store
        self._pace = None if max_bytes_per_s is None else Pace(max_bytes_per_s)

    async def run(self) -> Scrubbed:
        scrubbed = Scrubbed()
        async for row in self._rows():
            if await self._is_collected(row):
                continue
            scrubbed.blobs += 1
            scrubbed.blob_bytes += row.stored_bytes
            scrubbed.corrupt += not await self._is_sound(row)
            if scrubbed.blobs % _PROGRESS_EVERY == 0:
                log.info("scrubbing", **scrubbed.as_json())
            if self._pace is not None:
                await asyncio.sleep(self._pace.delay_s(row.stored_bytes))
        log.info("scrubbed", **scrubbed.as_json())
        return scrubbed

    async def _rows(self) -> AsyncIterator[BlobRow]:
        after_id = 0
        while True:
            async with self._database.read() as session:
                query = select(BlobRow).where(BlobRow.id > after_id).order_by(BlobRow.id).limit(_BATCH)
                rows = (await session.scalars(query)).all()
            for row in rows:
                yield row
            if len(rows) < _BATCH:
                return
            after_id = rows[-1].id

    async def _is_collected(self, row: BlobRow) -> bool:
        """Whether it went since its row was read, which is no loss."""
        try:
            await self._store.size(row.key)
        except BlobMissing:
            async with self._database.read() as session:
                return await session.scalar(select(BlobRow.id).where(BlobRow.id == row.id)) is None
        return False

    async def _is_sound(self, row: BlobRow) -> bool:
        try:
            found = await self._content_digest(row)
        except DataCorrupt:
            await self._report(row, "stored checksum")
            return False
        if found != (row.stored_digest if row.kind == BlobKind.PART else row.digest):
            await self._report(row, "digest of the content")
            return False
        return True

    async def _content_digest(self, row: BlobRow) -> str | None:
        """Of what the stored bytes hold; None if that is nothing. Raises DataCorrupt by the stored checksum."""
        content = _content_check(row)
        stored = StoredBytes(row.key, row.stored_bytes, row.stored_digest)
        async with aclosing(stream_verified(self._store, stored)) as blocks:
            async for block in blocks:
                await asyncio.to_thread(_feed, content, block)
        return await asyncio.to_thread(_digest, content)

    async def _report(self, row: BlobRow, problem: str) -> None:
        _CORRUPT.inc()
        details = {"blob_kind": row.kind, "digest": row.digest, "key": row.key, "problem": problem}
        log.error("blob corrupt", **details)
        async with self._database.write() as session:
            record(session, EventKind.BLOB_CORRUPT, **details)


class Pace:
    """How long to pause after so many bytes, for an average that is not exceeded."""

    def __init__(self, max_bytes_per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes_per_s = max_bytes_per_s
        self._clock = clock
        self._free_at = clock()

    def delay_s(self, done_bytes: int) -> float:
        now = self._clock()
        self._free_at = max(self._free_at, now) + done_bytes / self._max_bytes_per_s
        return self._free_at - now


class _ContentCheck(Protocol):
    """Takes the stored bytes and finds out the digest of the content. Raises ValueError when they hold none."""

    def feed(self, data: bytes) -> None: ...

    def digest(self) -> str: ...


class _Opaque:
    """The stored bytes are the content."""

    def __init__(self) -> None:
        self._digest = sha256()

    def feed(self, data: bytes) -> None:
        self._digest.update(data)

    def digest(self) -> str:
        return self._digest.hexdigest()


class _SharedChunk:
    """A chunk of documents that are small enough to be held together."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        self._parts.append(data)

    def digest(self) -> str:
        return chunk_digest(raw_of(self._encoding, b"".join(self._parts)))


class _LargeChunk:
    """A chunk of one document of any size, always one gzip member: digested as it passes by."""

    def __init__(self) -> None:
        self._inflater = MemberInflater()
        self._digest = sha256()
        self._raw_bytes = 0
        self._skip = LENGTH_BYTES

    def feed(self, data: bytes) -> None:
        self._take(self._inflater.feed(data[self._skip :]))
        self._skip = max(0, self._skip - len(data))

    def digest(self) -> str:
        self._take(self._inflater.finish())
        self._digest.update(LENGTH.pack(self._raw_bytes))
        return self._digest.hexdigest()

    def _take(self, pieces: Iterator[bytes]) -> None:
        for piece in pieces:
            self._raw_bytes += len(piece)
            self._digest.update(piece)


def _content_check(row: BlobRow) -> _ContentCheck:
    if row.kind != BlobKind.CHUNK:
        return _Opaque()
    if row.raw_bytes - LENGTH_BYTES > MAX_DOCUMENT_BYTES:
        return _LargeChunk()
    return _SharedChunk(Encoding(row.encoding))


def _feed(content: _ContentCheck, block: bytes) -> None:
    """What cannot be read has no digest either; that comes to light at the end, after the stored checksum."""
    with suppress(ValueError):
        content.feed(block)


def _digest(content: _ContentCheck) -> str | None:
    try:
        return content.digest()
    except ValueError:
        return None
