"""Collection: what nothing references goes, while pushes and pulls run.

First rows, then bytes. A row goes in a transaction that checks once more that nothing references it and that nobody
touched it, so a push that counted on it in between wins; a push that comes later finds no row and stores the content
anew. Only then the bytes go, under a key that is never used again. Bytes without a row (a push that died, a collection
that was interrupted) go when they are old enough. Whoever stages blobs holds a lease (leases.py), and what is younger
than the oldest lease is left alone.

Every batch stands for itself: a collection that is interrupted has done what it has done, and the next one goes on.

What will go is counted first, in a reading transaction, which no writer waits for on either database. The count is a
forecast and nothing more: every batch decides anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import IntegrityError

from palomar.server.blobs.forecast import Expected, Forecast, Progress, Tell, amount, duration
from palomar.server.blobs.leases import collectable_before
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.port import BlobInfo, BlobStore
from palomar.server.blobs.references import unreferenced
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.db.schema import metadata

log = structlog.get_logger("palomar.blobs")

BATCH = 500
_COLLECTED = Counter("palomar_collected_blobs_total", "Blobs that collection removed.", ["what"])
_COLLECTED_BYTES = Counter("palomar_collected_bytes_total", "Bytes that collection removed.", ["what"])


@dataclass(slots=True)
class Collected:
    """What went: blobs that nothing referenced, bytes that had no row.

    ``failed`` counts deletions that the store refused; those bytes are orphans, left to the next time. What was
    expected stands beside it: pushes go on meanwhile, and another collection may share the work.
    """

    blobs: int = 0
    blob_bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    failed: int = 0
    expected_blobs: int = 0
    expected_bytes: int = 0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        rows, rest = amount(self.blobs, self.blob_bytes), amount(self.orphans, self.orphan_bytes)
        left = f"; {self.failed:,} deletions were refused by the store" * bool(self.failed)
        return f"{rows} that nothing referenced and {rest} without a row are gone, in {duration(self.seconds)}{left}"


@dataclass(frozen=True, slots=True)
class _Doomed:
    key: str
    size_bytes: int


class Collector:
    """Collects blobs that were neither stored nor touched for the grace period."""

    def __init__(self, database: Database, store: BlobStore, *, grace: timedelta, batch: int = BATCH) -> None:
        self._database = database
        self._store = store
        self._grace = grace
        self._batch = batch
        self._unreferenced = unreferenced(metadata())

    async def run(self, tell: Tell | None = None) -> Collected:
        """One collection. Two at once do no harm; each counts what it removed itself.

        ``tell`` is called before it begins and every few seconds; without it the log is told.
        """
        expected = await self._expected_rows()
        collected = Collected(expected_blobs=expected.blobs, expected_bytes=expected.blob_bytes)
        forecast = Forecast(expected, tell or _log_progress)
        if expected.blobs:
            # Else the same search again would find what has become old since, which can wait for the next time.
            await self._collect_rows(collected, forecast)
        await self._collect_orphans(collected)
        collected.seconds = round(forecast.passed_s, 1)
        log.info("collected", **collected.as_json())
        return collected

    async def expect(self) -> Expected:
        """What a collection would remove now. It looks at everything in the store, and removes nothing."""
        rows = await self._expected_rows()
        orphans, orphan_bytes = 0, 0
        async for page in self._old_bytes():
            doomed = await self._without_row(page)
            orphans += len(doomed)
            orphan_bytes += sum(blob.size_bytes for blob in doomed)
        return replace(rows, orphans=orphans, orphan_bytes=orphan_bytes)

    # --- rows ----------------------------------------------------------------------------------------------------

    async def _expected_rows(self) -> Expected:
        async with self._database.read() as session:
            before = await collectable_before(session, grace=self._grace)
            total = select(func.count(), func.coalesce(func.sum(BlobRow.stored_bytes), 0)).select_from(BlobRow)
            blobs, blob_bytes = (await session.execute(total.where(*self._collectable(before)))).one()
            # PostgreSQL's sum of BIGINT is a NUMERIC.
            return Expected(blobs, int(blob_bytes))

    def _collectable(self, before: datetime) -> tuple[ColumnElement[bool], ...]:
        return BlobRow.touched_at < before, self._unreferenced

    async def _collect_rows(self, collected: Collected, forecast: Forecast) -> None:
        after_id = 0
        while ids := await self._candidates(after_id):
            after_id = ids[-1]
            doomed = await self._delete_rows(ids)
            collected.blobs += len(doomed)
            collected.blob_bytes += _count("blob", doomed)
            collected.failed += len(doomed) - len(await self._delete_bytes(doomed))
            forecast.note(collected.blobs, collected.blob_bytes)

    async def _candidates(self, after_id: int) -> Sequence[int]:
        """The next batch, without a lock: on a large hub the search takes longer than writers should wait."""
        async with self._database.read() as session:
            before = await collectable_before(session, grace=self._grace)
            query = select(BlobRow.id).where(BlobRow.id > after_id, *self._collectable(before))
            return (await session.scalars(query.order_by(BlobRow.id).limit(self._batch))).all()

    async def _delete_rows(self, ids: Sequence[int]) -> list[_Doomed]:
        """Those of the batch that may still go; durable when it returns."""
        try:
            return await self._delete_rows_at_once(ids)
        except IntegrityError:
            # A table that this release does not know, written by a newer replica, holds one of them: spare that one.
            if len(ids) == 1:
                return []
            middle = len(ids) // 2
            return [*await self._delete_rows(ids[:middle]), *await self._delete_rows(ids[middle:])]

    async def _delete_rows_at_once(self, ids: Sequence[int]) -> list[_Doomed]:
        async with self._database.write() as session:
            before = await collectable_before(session, grace=self._grace)
            # On PostgreSQL a row that somebody is about to reference is locked: leave it, do not wait for it.
            free = select(BlobRow.id).where(BlobRow.id.in_(ids)).with_for_update(skip_locked=True)
            locked = (await session.scalars(free)).all()
            gone = (
                delete(BlobRow)
                .where(BlobRow.id.in_(locked), *self._collectable(before))
                .returning(BlobRow.key, BlobRow.stored_bytes)
            )
            return [_Doomed(key, size_bytes) for key, size_bytes in await session.execute(gone)]

    # --- bytes without a row -------------------------------------------------------------------------------------

    async def _collect_orphans(self, collected: Collected) -> None:
        async for page in self._old_bytes():
            doomed = await self._without_row(page)
            deleted = await self._delete_bytes(doomed)
            collected.orphans += len(deleted)
            collected.orphan_bytes += _count("orphan", deleted)
            collected.failed += len(doomed) - len(deleted)

    async def _old_bytes(self) -> AsyncIterator[list[BlobInfo]]:
        page: list[BlobInfo] = []
        async with aclosing(self._store.list(older_than=utc_now() - self._grace)) as found:
            async for blob in found:
                page.append(blob)
                if len(page) == self._batch:
                    yield page
                    page = []
        if page:
            yield page

    async def _without_row(self, page: Sequence[BlobInfo]) -> list[_Doomed]:
        """The order decides: listed before the leases are read, leases before rows.

        Bytes of a push that began since are not on the page; one that is at work has a lease; of one that has ended the
        rows can be seen.
        """
        async with self._database.read() as session:
            before = await collectable_before(session, grace=self._grace)
            old = [blob for blob in page if blob.modified_at < before]
            query = select(BlobRow.key).where(BlobRow.key.in_([blob.key for blob in old]))
            known = set((await session.scalars(query)).all())
        return [_Doomed(blob.key, blob.size_bytes) for blob in old if blob.key not in known]

    async def _delete_bytes(self, doomed: Sequence[_Doomed]) -> list[_Doomed]:
        """Those that are gone."""
        refused = await self._store.delete_many([blob.key for blob in doomed])
        for key, error in refused.items():
            log.warning("collected bytes not deleted", key=key, exc_info=error)
        return [blob for blob in doomed if blob.key not in refused]


def _log_progress(progress: Progress) -> None:
    log.info("collecting", **progress.as_json())


def _count(what: str, doomed: Sequence[_Doomed]) -> int:
    """The bytes, counted in the metrics."""
    size_bytes = sum(blob.size_bytes for blob in doomed)
    _COLLECTED.labels(what).inc(len(doomed))
    _COLLECTED_BYTES.labels(what).inc(size_bytes)
    return size_bytes
