"""Collection and scrub, on all pairs of databases and stores."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Sequence
from datetime import timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, select, update
from sqlalchemy.exc import IntegrityError

from palomar.contract.errors import Busy
from palomar.documents.chunks import encode_zstd
from palomar.documents.facts import LENGTH
from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.blobs.collection import Collected, Collector
from palomar.server.blobs.forecast import Expected, Progress
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.leases import hold_lease
from palomar.server.blobs.local import LocalBlobStore
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.port import BlobMissing, BlobStore
from palomar.server.blobs.references import referencing_columns, unreferenced
from palomar.server.blobs.scrub import Pace, Scrubbed, Scrubber
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.db.schema import metadata
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from tests.factories.accounts import make_person
from tests.factories.artifacts import make_artifact, make_version
from tests.factories.blobs import AgedStore, make_blob, make_chunk, stored_keys

NO_GRACE = timedelta(0)
DAY = timedelta(days=1)


async def reference(database: Database, *, chunks: tuple[int, ...] = (), content_id: int | None = None) -> Version:
    async with database.write() as session:
        person = await make_person(session)
        artifact = await make_artifact(session, person.namespace)
        return await make_version(session, artifact, chunk_ids=chunks, content_id=content_id)


async def collect(database: Database, store: BlobStore, *, grace: timedelta = NO_GRACE, batch: int = 500) -> Collected:
    return await Collector(database, store, grace=grace, batch=batch).run()


async def rows(database: Database) -> set[str]:
    async with database.read() as session:
        return set((await session.scalars(select(BlobRow.key))).all())


class TestRows:
    async def test_what_nothing_references_goes(self, database: Database, blobs: BlobStore):
        kept = await make_blob(database, blobs, b"manifest")
        chunk = await make_chunk(database, blobs, b"document")
        lost = await make_blob(database, blobs, b"abandoned")
        await reference(database, chunks=(chunk.id,), content_id=kept.id)
        collected = await collect(database, blobs)
        assert (collected.blobs, collected.blob_bytes, collected.orphans) == (1, lost.stored_bytes, 0)
        assert await rows(database) == await stored_keys(blobs) == {kept.key, chunk.key}

    async def test_the_grace_period_spares_what_is_young(self, database: Database, blobs: BlobStore):
        young = await make_blob(database, blobs, b"young")
        old = await make_blob(database, blobs, b"old", touched_at=utc_now() - 2 * DAY)
        assert (await collect(database, blobs, grace=DAY)).blobs == 1
        assert await rows(database) == {young.key} != {old.key}

    async def test_what_was_touched_during_a_push_stays(self, database: Database, blobs: BlobStore):
        async with hold_lease(database):
            touched = await make_blob(database, blobs, b"counted on")
            assert (await collect(database, blobs)).blobs == 0
        assert await stored_keys(blobs) == {touched.key}
        assert (await collect(database, blobs)).blobs == 1

    async def test_batches_cover_everything(self, database: Database, blobs: BlobStore):
        kept = await make_blob(database, blobs, b"kept")
        for number in range(7):
            await make_blob(database, blobs, b"%d" % number)
        await reference(database, content_id=kept.id)
        assert (await collect(database, blobs, batch=2)).blobs == 7
        assert await rows(database) == await stored_keys(blobs) == {kept.key}

    async def test_a_push_that_references_a_collected_row_fails(self, database: Database, blobs: BlobStore):
        gone = await make_blob(database, blobs, b"gone")
        await collect(database, blobs)
        with pytest.raises(IntegrityError):
            await reference(database, content_id=gone.id)

    async def test_a_touch_after_the_search_wins(self, database: Database, blobs: BlobStore):
        """A push found the row between the search and the deletion, and counts on it."""
        row = await make_blob(database, blobs, b"found again", touched_at=utc_now() - 2 * DAY)

        class Late(Collector):
            async def _candidates(self, after_id: int) -> Any:
                found = await super()._candidates(after_id)
                async with database.write() as session:
                    await session.execute(update(BlobRow).values(touched_at=utc_now()))
                return found

        assert (await Late(database, blobs, grace=DAY).run()).blobs == 0
        assert await rows(database) == {row.key}

    async def test_a_reference_after_the_search_wins(self, database: Database, blobs: BlobStore):
        row = await make_blob(database, blobs, b"referenced meanwhile")

        class Late(Collector):
            async def _candidates(self, after_id: int) -> Any:
                found = await super()._candidates(after_id)
                if found:
                    await reference(database, content_id=row.id)
                return found

        assert (await Late(database, blobs, grace=NO_GRACE).run()).blobs == 0
        assert await stored_keys(blobs) == {row.key}

    async def test_two_collections_at_once_share_the_work(self, database: Database, blobs: BlobStore):
        kept = await make_blob(database, blobs, b"kept")
        for number in range(20):
            await make_blob(database, blobs, b"%d" % number)
        await reference(database, content_id=kept.id)
        done = await asyncio.gather(*(collect(database, blobs, batch=3) for _ in range(3)))
        assert sum(each.blobs for each in done) == 20
        assert await rows(database) == await stored_keys(blobs) == {kept.key}


class TestForecast:
    async def test_what_goes_is_counted_before(self, database: Database, blobs: BlobStore):
        kept = await make_blob(database, blobs, b"kept")
        await reference(database, content_id=kept.id)
        lost = [await make_blob(database, blobs, b"lost %d" % number) for number in range(3)]
        expected = (3, sum(row.stored_bytes for row in lost))
        told: list[Progress] = []
        collected = await Collector(database, blobs, grace=NO_GRACE).run(told.append)
        assert [(first.blobs, first.expected_blobs, first.expected_bytes) for first in told] == [(0, *expected)]
        assert (
            (collected.expected_blobs, collected.expected_bytes) == (collected.blobs, collected.blob_bytes) == expected
        )
        assert collected.as_json().items() >= {"expected_blobs": 3, "expected_bytes": expected[1]}.items()

    async def test_expecting_removes_nothing(self, database: Database, blobs: BlobStore):
        row = await make_blob(database, blobs, b"lost")
        await make_blob(database, blobs, b"young", touched_at=utc_now() + DAY)
        await blobs.put(orphan := new_key(), b"nobody's")
        before = await rows(database), await stored_keys(blobs)
        expected = await Collector(database, AgedStore(blobs), grace=NO_GRACE).expect()
        assert expected == Expected(blobs=1, blob_bytes=row.stored_bytes, orphans=1, orphan_bytes=8)
        assert (await rows(database), await stored_keys(blobs)) == before
        assert orphan in before[1]

    async def test_a_writer_does_not_wait_for_the_count(self, database: Database, blobs: BlobStore):
        await make_blob(database, blobs, b"lost")

        class Counting(Collector):
            async def _expected_rows(self) -> Expected:
                async with database.write() as session:
                    await session.execute(update(BlobRow).values(touched_at=utc_now() - DAY))
                    # The writer has not committed, and holds every lock that it needs.
                    return await super()._expected_rows()

        assert (await Counting(database, blobs, grace=NO_GRACE).run()).blobs == 1


class TestOrphans:
    async def test_bytes_without_a_row_go(self, database: Database, blobs: BlobStore):
        await blobs.put(new_key(), b"nobody's")
        # A store's times may be whole seconds.
        collected = await collect_when_older(database, blobs)
        assert (collected.orphans, collected.orphan_bytes) == (1, 8)
        assert await stored_keys(blobs) == set()

    async def test_the_grace_period_spares_what_is_young(self, database: Database, blobs: BlobStore):
        key = new_key()
        await blobs.put(key, b"staged by a push that was killed")
        assert (await collect(database, blobs, grace=DAY)).orphans == 0
        assert await stored_keys(blobs) == {key}

    async def test_bytes_of_a_push_at_work_stay(self, database: Database, blobs: BlobStore):
        async with hold_lease(database):
            key = new_key()
            await blobs.put(key, b"staged")
            assert (await collect(database, AgedStore(blobs))).orphans == 0
        assert await stored_keys(blobs) == {key}

    async def test_bytes_that_could_not_be_deleted_go_the_next_time(self, database: Database, blobs: BlobStore):
        await make_blob(database, blobs, b"stubborn")
        collected = await collect(database, Refusing(blobs))
        # Tried twice: as the row's bytes, and as bytes without a row.
        assert (collected.blobs, collected.orphans, collected.failed) == (1, 0, 2)
        assert len(await stored_keys(blobs)) == 1
        assert (await collect_when_older(database, blobs)).orphans == 1


class Refusing(AgedStore):
    """A store that is busy when something is to be deleted."""

    async def delete_many(self, keys: Sequence[str]) -> dict[str, Exception]:
        return {key: Busy(f"no time for {key}") for key in keys}


async def collect_when_older(database: Database, store: BlobStore) -> Collected:
    return await collect(database, AgedStore(store))


class TestReferences:
    def test_every_domain_that_points_at_blobs_counts(self):
        found = {str(column) for column in referencing_columns(metadata())}
        assert found >= {"versions.content_id", "versions.index_id", "version_chunks.blob_id"}

    def test_a_table_of_a_new_domain_counts_by_itself(self):
        extended = MetaData()
        for table in metadata().tables.values():
            table.to_metadata(extended)
        new = Table("packages", extended, Column("id", Integer), Column("blob_id", ForeignKey(BlobRow.id)))
        assert new.c.blob_id in set(referencing_columns(extended))

    @pytest.mark.parametrize("column", list(referencing_columns(metadata())), ids=str)
    def test_a_blob_is_looked_up_in_an_index(self, column: Column[Any]):
        """Or every blob that goes would read the whole table: once to be found, and once for the foreign key."""
        indexes = [column.table.primary_key, *column.table.indexes]
        assert column in {next(iter(index.columns)) for index in indexes}

    def test_nothing_is_collected_when_no_domain_is_known(self):
        with pytest.raises(LookupError, match="not loaded"):
            unreferenced(MetaData())


class TestScrub:
    async def test_sound_blobs_pass(self, database: Database, blobs: BlobStore):
        made = [
            await make_blob(database, blobs, b"opaque"),
            await make_blob(database, blobs, b""),
            await make_chunk(database, blobs, b"one", b"two"),
            await make_large_chunk(database, blobs),
        ]
        scrubbed = await Scrubber(database, blobs).run()
        assert scrubbed == Scrubbed(blobs=4, blob_bytes=sum(row.stored_bytes for row in made), corrupt=0)
        assert await events(database) == []

    @pytest.mark.parametrize("make", [lambda *at: make_blob(*at, b"opaque"), lambda *at: make_chunk(*at, b"document")])
    async def test_changed_bytes_are_found(self, database: Database, blobs: BlobStore, make: Any):
        row = await make(database, blobs)
        await overwrite(blobs, row.key, b"x" * row.stored_bytes)
        assert (await Scrubber(database, blobs).run()).corrupt == 1
        (event,) = await events(database)
        assert event.details == {
            "blob_kind": row.kind,
            "digest": row.digest,
            "key": row.key,
            "problem": "stored checksum",
        }

    async def test_a_missing_blob_is_found(self, database: Database, blobs: BlobStore):
        row = await make_blob(database, blobs, b"opaque")
        await blobs.delete(row.key)
        assert (await Scrubber(database, blobs).run()).corrupt == 1

    @pytest.mark.parametrize(
        "stored", [encode_zstd(LENGTH.pack(5) + b"other"), b"no zstd frame", b""], ids=["other", "garbage", "empty"]
    )
    async def test_a_chunk_that_is_not_what_its_digest_says_is_found(
        self, database: Database, blobs: BlobStore, stored: bytes
    ):
        """Its stored checksum is right: it was written wrong."""
        digest = sha256(LENGTH.pack(5) + b"right").hexdigest()
        await make_blob(database, blobs, stored, kind=BlobKind.CHUNK, digest=digest, encoding="zstd", raw_bytes=9)
        assert (await Scrubber(database, blobs).run()).corrupt == 1
        assert (await events(database))[0].details["problem"] == "digest of the content"

    async def test_a_large_chunk_that_is_not_what_its_digest_says_is_found(self, database: Database, blobs: BlobStore):
        await make_large_chunk(database, blobs, digest="0" * 64)
        assert (await Scrubber(database, blobs).run()).corrupt == 1

    async def test_a_blob_that_is_collected_meanwhile_is_no_loss(self, database: Database, blobs: BlobStore):
        row = await make_blob(database, blobs, b"soon gone")

        class Collected(Scrubber):
            async def _is_collected(self, found: BlobRow) -> bool:
                await collect(database, blobs)
                return await super()._is_collected(found)

        assert await Collected(database, blobs).run() == Scrubbed()
        with pytest.raises(BlobMissing):
            await blobs.read(row.key)

    def test_the_pace_keeps_the_average(self):
        now = SimpleNamespace(s=100.0)
        pace = Pace(1000, clock=lambda: now.s)
        assert pace.delay_s(500) == pytest.approx(0.5)
        assert pace.delay_s(500) == pytest.approx(1.0)
        now.s += 5
        assert pace.delay_s(100) == pytest.approx(0.1)


async def make_large_chunk(database: Database, store: BlobStore, *, digest: str | None = None) -> BlobRow:
    """One document above the size of shared chunks, compressed to almost nothing."""
    document = bytes(5 * 1024 * 1024)
    member = gzip.compress(document)
    return await make_blob(
        database,
        store,
        LENGTH.pack(len(member)) + member,
        kind=BlobKind.CHUNK,
        digest=digest or sha256(document + LENGTH.pack(len(document))).hexdigest(),
        encoding="gzip-members",
        raw_bytes=len(document) + LENGTH.size,
    )


async def overwrite(store: BlobStore, key: str, data: bytes) -> None:
    """As a failing disk does it, behind the store's back."""
    if isinstance(store, LocalBlobStore):
        await asyncio.to_thread(store.local_path(key).write_bytes, data)
        return
    await store.delete(key)
    await store.put(key, data)


async def events(database: Database) -> list[Event]:
    async with database.read() as session:
        return list((await session.scalars(select(Event).where(Event.kind == EventKind.BLOB_CORRUPT))).all())


async def test_pushes_and_collections_at_once_lose_nothing(database: Database, blobs: BlobStore):
    """Versions come while collections without any grace run: every one of them keeps its chunks."""
    async with database.write() as session:
        person = await make_person(session)
        artifact = await make_artifact(session, person.namespace)
    is_pushing = True

    async def push() -> None:
        nonlocal is_pushing
        for number in range(25):
            async with hold_lease(database):
                chunk = await make_chunk(database, blobs, b"document %d" % number)
                await make_blob(database, blobs, os.urandom(16))
                async with database.write() as session:
                    await make_version(session, await session.get_one(Artifact, artifact.id), chunk_ids=[chunk.id])
        is_pushing = False

    async def collect_all_the_time() -> None:
        while is_pushing:
            await collect(database, AgedStore(blobs), batch=3)

    async with asyncio.TaskGroup() as group:
        group.create_task(collect_all_the_time())
        group.create_task(push())
    async with database.read() as session:
        chunks = select(BlobRow.key).join(VersionChunk, VersionChunk.blob_id == BlobRow.id)
        referenced = set((await session.scalars(chunks)).all())
    assert len(referenced) == 25
    await collect(database, AgedStore(blobs))
    assert await rows(database) == await stored_keys(blobs) == referenced
