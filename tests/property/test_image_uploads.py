"""Uploads in any order of requests, with collections and purges in between: the bytes that were promised, no others."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from obstore.store import MemoryStore
from sqlalchemy import select

from palomar.contract.errors import BlobUploadInvalid, DigestMismatch, UploadOutOfOrder, UploadUnknown
from palomar.contract.images import RepositoryName
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.obstore_store import ObstoreBlobStore
from palomar.server.db.engine import Database
from palomar.server.registry.blobs import find_blob_for
from palomar.server.registry.models import RepositoryBlob
from palomar.server.registry.purge import purge_images
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.shared_lease import SharedLease
from palomar.server.registry.uploads import Uploads
from tests.factories.accounts import make_person
from tests.factories.blobs import AgedStore, stored_keys
from tests.factories.images import body_of, digest_of
from tests.services.pushes import subject_of

T = TypeVar("T")

REPO = RepositoryName("alice/digits")
# Few bytes of few kinds, so that the same content is soon pushed twice.
PIECES = st.lists(st.sampled_from([b"", b"a", b"bb"]), max_size=3)
ALGORITHMS = st.sampled_from(["sha256", "sha512"])
NOW = timedelta(0)
DAY = timedelta(days=1)


class UploadMachine(RuleBasedStateMachine):
    """The model: what every open upload has received, and which blobs there are by which digest."""

    uploads = Bundle("uploads")

    def __init__(self, migrated: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copy(migrated, self.folder / "palomar.sqlite")
        self.runner = asyncio.Runner()
        self.received: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.run(self.open())

    def run(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return self.runner.run(awaited())

    async def open(self) -> None:
        self.store = ObstoreBlobStore(MemoryStore())
        await self.connect()
        async with self.database.write() as session:
            person = await make_person(session)
            self.alice = subject_of(person.account.id, "alice")

    async def connect(self) -> None:
        self.database = Database(f"sqlite:///{self.folder / 'palomar.sqlite'}")
        self.leases = SharedLease(self.database)
        self.service = Uploads(self.database, self.store, RegistryRules(), self.leases)

    async def disconnect(self) -> None:
        await self.leases.close()
        await self.database.close()

    # --- requests ------------------------------------------------------------------------------------------------

    @rule(target=uploads)
    def start(self) -> str:
        upload_id = self.run(self.service.start(self.alice, REPO)).id
        self.received[upload_id] = b""
        return upload_id

    @rule(upload_id=uploads, pieces=PIECES, says_start=st.booleans())
    def append(self, upload_id: str, pieces: list[bytes], says_start: bool) -> None:
        start = len(self.received.get(upload_id, b"")) if says_start else None
        work = self.service.append(self.alice, REPO, upload_id, body=body_of(*pieces), start=start)
        if upload_id not in self.received:
            with pytest.raises(UploadUnknown):
                self.run(work)
            return
        self.received[upload_id] += b"".join(pieces)
        assert self.run(work).received_bytes == len(self.received[upload_id])

    @rule(upload_id=uploads, start=st.integers(0, 8))
    def append_out_of_order(self, upload_id: str, start: int) -> None:
        if upload_id in self.received and start != len(self.received[upload_id]):
            with pytest.raises(UploadOutOfOrder):
                self.run(self.service.append(self.alice, REPO, upload_id, body=body_of(b"x"), start=start))

    @rule(upload_id=uploads, length=st.sampled_from([1, 3]))
    def append_another_length(self, upload_id: str, length: int) -> None:
        if upload_id in self.received:
            with pytest.raises(BlobUploadInvalid):
                self.run(self.service.append(self.alice, REPO, upload_id, body=body_of(b"xx"), length=length))

    @rule(upload_id=uploads, pieces=PIECES)
    def break_off(self, upload_id: str, pieces: list[bytes]) -> None:
        if upload_id in self.received:
            body = body_of(*pieces, then=ConnectionResetError())
            with pytest.raises(ConnectionResetError):
                self.run(self.service.append(self.alice, REPO, upload_id, body=body))
            self.received[upload_id] += b"".join(pieces)

    @rule(upload_id=consumes(uploads), pieces=st.none() | PIECES, algorithm=ALGORITHMS)
    def finish(self, upload_id: str, pieces: list[bytes] | None, algorithm: str) -> None:
        content = self.received.pop(upload_id, b"") + b"".join(pieces or [])
        digest = digest_of(content, algorithm)
        body = None if pieces is None else body_of(*pieces)
        assert self.run(self.service.finish(self.alice, REPO, upload_id, digest=digest, body=body)).digest == digest
        self.blobs[digest] = content

    @rule(upload_id=consumes(uploads), algorithm=ALGORITHMS)
    def finish_wrongly(self, upload_id: str, algorithm: str) -> None:
        with pytest.raises(DigestMismatch):
            self.run(self.service.finish(self.alice, REPO, upload_id, digest=digest_of(b"no such", algorithm)))
        del self.received[upload_id]

    @rule(upload_id=consumes(uploads))
    def cancel(self, upload_id: str) -> None:
        self.run(self.service.cancel(self.alice, REPO, upload_id))
        del self.received[upload_id]

    @rule(pieces=PIECES, algorithm=ALGORITHMS)
    def put(self, pieces: list[bytes], algorithm: str) -> None:
        content = b"".join(pieces)
        digest = digest_of(content, algorithm)
        self.run(self.service.put(self.alice, REPO, digest=digest, body=body_of(*pieces), length=len(content)))
        self.blobs[digest] = content

    # --- everything else -----------------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        """Another process, or another replica: nothing is remembered but rows and bytes."""
        self.run(self.disconnect())
        self.run(self.connect())

    @rule()
    def collect(self) -> None:
        self.run(self._collect())

    async def _collect(self) -> None:
        await self.leases.close()
        await Collector(self.database, AgedStore(self.store), grace=NOW, batch=2).run()

    @rule()
    def purge_blobs(self) -> None:
        """No manifest names any of them, and there is no grace: all go."""
        self.run(purge_images(self.database, upload_ttl=DAY, grace=-DAY, undelete_window=DAY, batch=2))
        self.blobs.clear()

    @invariant()
    def uploads_stand_where_they_should(self) -> None:
        for upload_id, received in self.received.items():
            assert self.run(self.service.status(self.alice, REPO, upload_id)).received_bytes == len(received)

    @invariant()
    def blobs_are_what_their_digests_say(self) -> None:
        assert self.run(self._stored()) == self.blobs

    async def _stored(self) -> dict[str, bytes]:
        async with self.database.read() as session:
            digests = (await session.scalars(select(RepositoryBlob.digest))).all()
        found = {}
        for digest in digests:
            blob = await find_blob_for(self.database, self.alice, REPO, digest)
            found[digest] = await self.store.read(blob.at.key)
        return found

    def teardown(self) -> None:
        try:
            self.run(self._finish())
        finally:
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _finish(self) -> None:
        try:
            for upload_id in self.received:
                await self.service.cancel(self.alice, REPO, upload_id)
            await self._collect()
            async with self.database.read() as session:
                rows = (await session.scalars(select(BlobRow))).all()
            assert {row.kind for row in rows} <= {BlobKind.OPAQUE}
            assert {row.digest for row in rows} == {digest_of(data).hex for data in self.blobs.values()}
            assert await stored_keys(self.store) == {row.key for row in rows}
        finally:
            await self.disconnect()
            await self.store.close()


def test_an_upload_is_what_was_sent(migrated_sqlite: Path) -> None:
    run_state_machine_as_test(
        lambda: UploadMachine(migrated_sqlite),
        settings=settings(
            max_examples=25, stateful_step_count=25, suppress_health_check=list(HealthCheck), deadline=None
        ),
    )
