"""Pushes, deletions, crashes and collections in any order: what a version needs stays, all else goes in the end."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from obstore.store import MemoryStore
from sqlalchemy import delete, select

from palomar.server.artifacts.models import Artifact, Version, VersionChunk
from palomar.server.blobs.collection import Collected, Collector
from palomar.server.blobs.leases import BlobLease, hold_lease
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.obstore_store import ObstoreBlobStore
from palomar.server.blobs.staging import BlobName, Staging
from palomar.server.db.engine import Database
from tests.factories.accounts import make_person
from tests.factories.artifacts import make_artifact, make_version
from tests.factories.blobs import AgedStore, stored_keys

T = TypeVar("T")

CONTENTS = st.integers(0, 2)
HOUR = timedelta(hours=1)


@dataclass
class PushUnderWay:
    """A push at work: a lease and what it has staged."""

    stack: AsyncExitStack
    staging: Staging
    contents: dict[int, BlobName] = field(default_factory=dict)


class CollectionMachine(RuleBasedStateMachine):
    """The model is one dictionary: which contents every live version was pushed with."""

    pushes = Bundle("pushes")
    versions = Bundle("versions")

    def __init__(self, migrated: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(migrated, self.folder / "palomar.sqlite")
        self.runner = asyncio.Runner()
        self.needed: dict[str, set[int]] = {}
        self.working: list[PushUnderWay] = []
        self.ages: dict[str, timedelta] = {}
        self.run(self.open())

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    async def open(self) -> None:
        self.database = Database(f"sqlite:///{self.folder / 'palomar.sqlite'}")
        # In memory: the order of things is what is tested here, and listing thousands of folders takes its time.
        self.store = ObstoreBlobStore(MemoryStore())
        async with self.database.write() as session:
            person = await make_person(session)
            self.artifact_id = (await make_artifact(session, person.namespace)).id

    # --- pushes --------------------------------------------------------------------------------------------------

    @rule(target=pushes)
    def begin(self) -> PushUnderWay:
        return self.run(self._begin())

    async def _begin(self) -> PushUnderWay:
        stack = AsyncExitStack()
        lease = await stack.enter_async_context(hold_lease(self.database))
        push = PushUnderWay(stack, Staging(self.database, self.store, lease=lease))
        self.working.append(push)
        return push

    @rule(push=pushes, content=CONTENTS)
    def stage(self, push: PushUnderWay, content: int) -> None:
        push.contents[content] = self.run(push.staging.add_opaque(bytes_of(content)))

    @rule(target=versions, push=consumes(pushes))
    def commit(self, push: PushUnderWay) -> str:
        version_id = self.run(self._commit(push))
        self.needed[version_id] = set(push.contents)
        return version_id

    async def _commit(self, push: PushUnderWay) -> str:
        async with self.database.write() as session:
            adopted = await push.staging.adopt(session)
            ids = [adopted[name].id for name in push.contents.values()]
            artifact = await session.get_one(Artifact, self.artifact_id)
            version = await make_version(session, artifact, chunk_ids=ids, content_id=ids[0] if ids else None)
            push.staging.hand_over(adopted)
        await push.staging.discard()
        await self._end(push)
        return version.id

    @rule(push=consumes(pushes))
    def abandon(self, push: PushUnderWay) -> None:
        self.run(push.staging.discard())
        self.run(self._end(push))

    @rule(push=consumes(pushes))
    def crash(self, push: PushUnderWay) -> None:
        """Its bytes stay behind and its lease has run out, as minutes after its process died."""
        self.run(self._end(push))

    async def _end(self, push: PushUnderWay) -> None:
        self.working.remove(push)
        await push.stack.aclose()

    @rule(content=CONTENTS)
    def a_version_came_and_went(self, content: int) -> None:
        """An hour ago, so that its blob is the next collection's, unless somebody comes to count on it."""
        push = self.begin()
        self.stage(push, content)
        self.delete_version(self.commit(push))
        self.an_hour_passes()

    # --- everything else -----------------------------------------------------------------------------------------

    @rule(version_id=consumes(versions))
    def delete_version(self, version_id: str) -> None:
        self.run(self._delete(version_id))
        del self.needed[version_id]

    async def _delete(self, version_id: str) -> None:
        async with self.database.write() as session:
            await session.execute(delete(VersionChunk).where(VersionChunk.version_id == version_id))
            await session.execute(delete(Version).where(Version.id == version_id))

    @rule()
    def an_hour_passes(self) -> None:
        """Everything that is there becomes an hour older; leases are renewed, as their pushes go on."""
        self.run(self._pass_an_hour())

    async def _pass_an_hour(self) -> None:
        async with self.database.write() as session:
            for row in await session.scalars(select(BlobRow)):
                row.touched_at -= HOUR
            for lease in await session.scalars(select(BlobLease)):
                lease.started_at -= HOUR
        for push in self.working:
            push.staging._lease = replace(push.staging._lease, started_at=push.staging._lease.started_at - HOUR)
        for key in await stored_keys(self.store):
            self.ages[key] = self.ages.get(key, timedelta(0)) + HOUR

    @rule(grace=st.sampled_from([timedelta(0), 1.5 * HOUR]), batch=st.integers(1, 3))
    def collect(self, grace: timedelta, batch: int) -> None:
        self.run(self._collect(grace, batch))

    async def _collect(self, grace: timedelta, batch: int) -> Collected:
        return await Collector(self.database, AgedStore(self.store, self.ages), grace=grace, batch=batch).run()

    @invariant()
    def every_version_can_be_read(self) -> None:
        for version_id, contents in self.needed.items():
            assert self.run(self._contents(version_id)) == {bytes_of(content) for content in contents}

    async def _contents(self, version_id: str) -> set[bytes]:
        query = select(BlobRow.key).join(VersionChunk, VersionChunk.blob_id == BlobRow.id)
        async with self.database.read() as session:
            keys = (await session.scalars(query.where(VersionChunk.version_id == version_id))).all()
        return {await self.store.read(key) for key in keys}

    def teardown(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _finish(self) -> None:
        for push in list(self.working):
            await self._end(push)
        try:
            await self._collect(timedelta(0), 2)
            await self._only_what_is_needed_is_left()
        finally:
            await self.database.close()
            await self.store.close()

    async def _only_what_is_needed_is_left(self) -> None:
        async with self.database.read() as session:
            rows = {row.key: row for row in await session.scalars(select(BlobRow))}
            leases = (await session.scalars(select(BlobLease))).all()
        kept = {await self.store.read(key) for key in rows}
        assert kept == {bytes_of(content) for contents in self.needed.values() for content in contents}
        assert await stored_keys(self.store) == set(rows)
        assert leases == []


def bytes_of(content: int) -> bytes:
    return b"content %d" % content


def test_what_is_needed_stays_and_all_else_goes(migrated_sqlite: Path):
    limits = settings(max_examples=30, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow])
    run_state_machine_as_test(lambda: CollectionMachine(migrated_sqlite), settings=limits)


def test_a_push_may_count_on_what_a_deleted_version_left(migrated_sqlite: Path):
    """One order of things that chance meets seldom."""
    machine = CollectionMachine(migrated_sqlite)
    try:
        machine.a_version_came_and_went(0)
        push = machine.begin()
        machine.stage(push, 0)
        machine.collect(timedelta(0), 1)
        machine.commit(push)
        machine.every_version_can_be_read()
    finally:
        machine.teardown()
