"""Pushing a blob, in one request or in many (distribution-spec 1.1, "Pushing Blobs").

What a request brought is stored as a part, known to its upload alone, before it is answered; an upload that began on
one replica goes on at another, and after a restart. When the client says which digest the whole must have, a single
part becomes the blob as it lies there: that is what docker, podman and skopeo send. Several parts are read once more
into one blob.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import DataCorrupt, DigestMismatch, UploadOutOfOrder
from palomar.contract.images import ImageDigest, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.access.pushing import require_push
from palomar.server.blobs.leases import Lease, check_lease
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.verified import StoredBytes, stream_verified
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.namespaces.service import find_namespace
from palomar.server.registry.adopt import Leftovers, add_part, adopt, check_digest, drop_parts, tidying
from palomar.server.registry.blobs import find_blob, link_blob
from palomar.server.registry.find import FoundRepository, open_repository
from palomar.server.registry.models import ImageUpload, UploadPart
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.shared_lease import SharedLease
from palomar.server.registry.sink import Room, Stored, store_body
from palomar.server.registry.upload_rows import Place, check_open_uploads, find_upload, place_of, room_for
from palomar.server.registry.usage import check_room
from palomar.server.registry.values import StoredBlob, UploadState


@dataclass(frozen=True, slots=True)
class _Task:
    """One request to one upload."""

    subject: Subject
    name: RepositoryName
    upload_id: str


@dataclass(frozen=True, slots=True)
class Uploads:
    """Takes blobs in; one per hub."""

    database: Database
    store: BlobStore
    rules: RegistryRules
    leases: SharedLease

    async def start(self, subject: Subject, name: RepositoryName) -> UploadState:
        """Raises TooManyUploads, and as `open_repository`."""
        async with self.database.write() as session:
            repository = await open_repository(session, subject, name)
            await check_open_uploads(session, repository.namespace_id, self.rules)
            row = ImageUpload(id=new_id(), repository_id=repository.id, account_id=subject.account_id)
            session.add(row)
        return UploadState(row.id, 0)

    async def status(self, subject: Subject, name: RepositoryName, upload_id: str) -> UploadState:
        async with self.database.read() as session:
            _, row = await find_upload(session, subject, name, upload_id, rules=self.rules)
        return UploadState(row.id, row.received_bytes)

    async def cancel(self, subject: Subject, name: RepositoryName, upload_id: str) -> None:
        async with tidying(self.store) as leftovers:
            await self._cancel(_Task(subject, name, upload_id), leftovers)

    async def append(
        self,
        subject: Subject,
        name: RepositoryName,
        upload_id: str,
        *,
        body: AsyncIterator[bytes],
        start: int | None = None,
        length: int | None = None,
    ) -> UploadState:
        """One chunk, or a stream of unknown length. What arrived of a body that breaks off is kept.

        Raises what ``body`` raised, after that; UploadOutOfOrder, also for the slower of two chunks at once;
        BlobUploadInvalid when more or fewer bytes arrive than announced, of which nothing is kept; TooLarge;
        QuotaExceeded. Refuses before it asks ``body`` for anything whatever it can refuse by then.
        """
        task = _Task(subject, name, upload_id)
        place = await self._place(task, start=start, length=length, is_last=False)
        async with self.leases.hold() as lease, tidying(self.store) as leftovers:
            stored = await self._receive(body, place.room, leftovers)
            return await self._keep(task, place, stored, lease, leftovers)

    async def finish(
        self,
        subject: Subject,
        name: RepositoryName,
        upload_id: str,
        *,
        digest: ImageDigest,
        body: AsyncIterator[bytes] | None = None,
        start: int | None = None,
        length: int | None = None,
    ) -> StoredBlob:
        """The last chunk, if there is still one, and the digest that the whole must have.

        Raises as `append`, and DigestMismatch: then the upload is cancelled, since no chunk more could mend it.
        """
        task = _Task(subject, name, upload_id)
        place = await self._place(task, start=start, length=length, is_last=True)
        body = None if length == 0 else body
        async with AsyncExitStack() as stack:
            lease = None
            if body is not None or len(place.parts) != 1:
                # The one part of most uploads has a row, which protects it; everything else needs a lease.
                lease = await stack.enter_async_context(self.leases.hold())
            leftovers = await stack.enter_async_context(tidying(self.store))
            pieces = list(place.parts)
            if body is not None and lease is not None:
                pieces += await self._last(task, place, body, lease, leftovers)
            whole = await self._whole(task, pieces, digest, leftovers)
            return await self._commit(task, place, whole, digest, lease, leftovers)

    async def put(
        self,
        subject: Subject,
        name: RepositoryName,
        *,
        digest: ImageDigest,
        body: AsyncIterator[bytes],
        length: int | None = None,
    ) -> StoredBlob:
        """A whole blob in the request that would begin an upload. One that breaks off leaves nothing."""
        async with self.database.read() as session:
            namespace = await find_namespace(session, name.namespace)
            namespace = require_push(subject, Action.IMAGE_PUSH, name, namespace)
            room = await room_for(session, namespace.id, length=length, rules=self.rules)
        async with self.leases.hold() as lease, tidying(self.store) as leftovers:
            stored = await self._receive(body, room, leftovers)
            if stored.interruption is not None:
                raise stored.interruption
            await check_digest(self.store, stored, digest)
            async with self.database.write() as session:
                await check_lease(session, lease)
                repository = await open_repository(session, subject, name)
                blob = await _link(session, repository, stored, digest, leftovers)
                leftovers.hand_over(stored.key)
            return blob

    # --- steps ---------------------------------------------------------------------------------------------------

    async def _place(self, task: _Task, *, start: int | None, length: int | None, is_last: bool) -> Place:
        async with self.database.read() as session:
            repository, row = await find_upload(session, task.subject, task.name, task.upload_id, rules=self.rules)
            return await place_of(
                session, repository, row, start=start, length=length, rules=self.rules, is_last=is_last
            )

    async def _receive(self, body: AsyncIterator[bytes], room: Room, leftovers: Leftovers) -> Stored:
        stored = await store_body(self.store, body, room)
        leftovers.staged.add(stored.key)
        return stored

    async def _keep(self, task: _Task, place: Place, stored: Stored, lease: Lease, leftovers: Leftovers) -> UploadState:
        """Makes a part of what arrived, and then raises what cut it off."""
        if stored.size_bytes:
            async with self.database.write() as session:
                await check_lease(session, lease)
                row = await self._locked(session, task, place)
                number, row.parts = row.parts, row.parts + 1
                row.received_bytes += stored.size_bytes
                row.touched_at = utc_now()
                session.add(
                    UploadPart(
                        upload_id=row.id,
                        number=number,
                        blob_id=await add_part(session, stored),
                        start=place.received_bytes,
                        size_bytes=stored.size_bytes,
                    )
                )
                await check_room(session, place.repository.namespace_id)
                leftovers.hand_over(stored.key)
        if stored.interruption is not None:
            raise stored.interruption
        return UploadState(task.upload_id, place.received_bytes + stored.size_bytes)

    async def _locked(self, session: AsyncSession, task: _Task, place: Place) -> ImageUpload:
        """As it was when the request began; another request that was faster makes this one out of order."""
        _, row = await find_upload(session, task.subject, task.name, task.upload_id, rules=self.rules, is_locked=True)
        if row.received_bytes != place.received_bytes:
            raise UploadOutOfOrder(row.received_bytes)
        return row

    async def _last(
        self, task: _Task, place: Place, body: AsyncIterator[bytes], lease: Lease, leftovers: Leftovers
    ) -> list[Stored]:
        last = await self._receive(body, place.room, leftovers)
        if last.interruption is not None:
            await self._keep(task, place, last, lease, leftovers)
        return [last] if last.size_bytes else []

    async def _whole(self, task: _Task, pieces: Sequence[Stored], digest: ImageDigest, leftovers: Leftovers) -> Stored:
        """The bytes of the upload in one piece, with the digest that was said; or the upload is cancelled."""
        try:
            whole = pieces[0] if len(pieces) == 1 else await self._join(pieces, leftovers)
            await check_digest(self.store, whole, digest)
        except DigestMismatch:
            await self._cancel(task, leftovers)
            raise
        except DataCorrupt:
            # Another request may have finished or cancelled the upload, and its parts are gone; or they are corrupt.
            await self._place(task, start=None, length=None, is_last=True)
            raise
        return whole

    async def _join(self, pieces: Sequence[Stored], leftovers: Leftovers) -> Stored:
        size_bytes = sum(piece.size_bytes for piece in pieces)
        async with aclosing(self._end_to_end(pieces)) as body:
            whole = await self._receive(body, Room(size_bytes, size_bytes), leftovers)
        if whole.interruption is not None:
            raise whole.interruption
        return whole

    async def _end_to_end(self, pieces: Sequence[Stored]) -> AsyncGenerator[bytes, None]:
        for piece in pieces:
            at = StoredBytes(piece.key, piece.size_bytes, piece.sha256)
            async with aclosing(stream_verified(self.store, at)) as blocks:
                async for block in blocks:
                    yield block

    async def _commit(
        self,
        task: _Task,
        place: Place,
        whole: Stored,
        digest: ImageDigest,
        lease: Lease | None,
        leftovers: Leftovers,
    ) -> StoredBlob:
        async with self.database.write() as session:
            if lease is not None:
                await check_lease(session, lease)
            row = await self._locked(session, task, place)
            keys = set(await _remove(session, row))
            blob = await _link(session, place.repository, whole, digest, leftovers)
            leftovers.hand_over(whole.key)
            leftovers.dropped |= keys - {whole.key}
        return blob

    async def _cancel(self, task: _Task, leftovers: Leftovers) -> None:
        async with self.database.write() as session:
            _, row = await find_upload(
                session, task.subject, task.name, task.upload_id, rules=self.rules, is_locked=True
            )
            keys = await _remove(session, row)
        leftovers.staged.update(keys)


async def _link(
    session: AsyncSession, repository: FoundRepository, stored: Stored, digest: ImageDigest, leftovers: Leftovers
) -> StoredBlob:
    await link_blob(session, repository.id, await adopt(session, stored, digest, leftovers))
    await check_room(session, repository.namespace_id)
    return await find_blob(session, repository, digest)


async def _remove(session: AsyncSession, row: ImageUpload) -> list[str]:
    """The upload and its parts; returns the keys of bytes that no row names any more."""
    blob_ids = (await session.scalars(select(UploadPart.blob_id).where(UploadPart.upload_id == row.id))).all()
    await session.execute(delete(UploadPart).where(UploadPart.upload_id == row.id))
    await session.execute(delete(ImageUpload).where(ImageUpload.id == row.id))
    return await drop_parts(session, blob_ids)
