"""Images that the hub makes itself: builds, base images, attachments. No caller, hence no access rules here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import ImageBlobUnknown, NameTaken
from palomar.contract.images import OCTET_STREAM, ImageDigest, ImageTag, RepositoryName
from palomar.server.access.policy import Resource
from palomar.server.blobs.leases import check_lease, hold_lease
from palomar.server.blobs.port import BLOCK_BYTES, BlobStore
from palomar.server.blobs.verified import stream_verified
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.registry.adopt import adopt, tidying
from palomar.server.registry.blobs import KIND as BLOB
from palomar.server.registry.blobs import Link, find_blob, link_blob
from palomar.server.registry.find import KIND, FoundRepository, repository_row
from palomar.server.registry.manifest_rows import lock_repository, move_tag
from palomar.server.registry.manifests import digest_of, find_manifest, manifest_unknown, read_manifest, store_manifest
from palomar.server.registry.models import ImageManifest, Repository, RepositoryBlob
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.sink import Room, store_body
from palomar.server.registry.usage import check_room
from palomar.server.registry.values import Descriptor, StoredManifest


@dataclass(frozen=True, slots=True)
class ImageWriter:
    """One per hub. What takes a session runs in the caller's transaction; the rest is durable on return."""

    database: Database
    store: BlobStore
    rules: RegistryRules

    async def ensure_repository(
        self, session: AsyncSession, *, namespace_id: str, path: str, executor_id: str | None = None
    ) -> str:
        """The id of the repository, made or linked to the Executor if need be.

        Raises NameTaken when it belongs to another Executor, as after a renaming; 'x-<short id>' is always free.
        """
        namespace = await session.get_one(NamespaceRow, namespace_id)
        await insert_missing(session, Repository, [repository_row(namespace, path, executor_id=executor_id)])
        query = select(Repository).where(Repository.namespace_id == namespace_id, Repository.path == path)
        row = (await session.scalars(query.with_for_update(key_share=True))).one()
        if executor_id is not None and row.executor_id != executor_id:
            if row.executor_id is not None:
                raise NameTaken(KIND, f"{namespace.name}/{path}")
            # Somebody pushed there before there was an Executor of that name, which can only have been its owner.
            linked = update(Repository).where(Repository.id == row.id)
            await session.execute(linked.values(executor_id=executor_id))
        return row.id

    async def add_blob(self, repository_id: str, source: bytes | Path) -> Descriptor:
        """Stores bytes or a file, of the type that the caller knows better. Raises QuotaExceeded, TooLarge."""
        async with hold_lease(self.database) as lease, tidying(self.store) as leftovers:
            async with aclosing(_blocks(source)) as body:
                stored = await store_body(self.store, body, Room(self.rules.max_blob_bytes))
            leftovers.staged.add(stored.key)
            if stored.interruption is not None:
                raise stored.interruption
            digest = ImageDigest.of_sha256(stored.sha256)
            async with self.database.write() as session:
                await check_lease(session, lease)
                repository = await _found(session, repository_id)
                await link_blob(session, repository_id, await adopt(session, stored, digest, leftovers))
                await check_room(session, repository.namespace_id)
                leftovers.hand_over(stored.key)
        return Descriptor(OCTET_STREAM, digest, stored.size_bytes)

    async def link_blob(
        self, repository_id: str, digest: ImageDigest, *, from_repository_id: str, is_base: bool = False
    ) -> Descriptor:
        """What another repository has. ``is_base``: it does not count in the quota. Raises ImageBlobUnknown."""
        async with self.database.write() as session:
            query = select(RepositoryBlob).where(
                RepositoryBlob.repository_id == from_repository_id, RepositoryBlob.digest == digest
            )
            row = await session.scalar(query.with_for_update(read=True, key_share=True))
            if row is None:
                raise ImageBlobUnknown(BLOB, digest)
            await link_blob(session, repository_id, Link(digest, row.blob_id, row.size_bytes, is_base))
            await check_room(session, (await _found(session, repository_id)).namespace_id)
        return Descriptor(OCTET_STREAM, digest, row.size_bytes)

    async def put_manifest(
        self,
        repository_id: str,
        content: bytes,
        media_type: str,
        *,
        tags: Sequence[ImageTag] = (),
        protected: bool = False,
    ) -> ImageDigest:
        """Raises ManifestInvalid, ManifestIncomplete, TagProtected, QuotaExceeded, Busy."""
        digest = await digest_of(content)
        parsed = await read_manifest(content, media_type)
        async with self.database.write() as session:
            repository = await _found(session, repository_id)
            await store_manifest(session, repository, digest, parsed, content, tags, is_protected=protected)
            record(
                session,
                EventKind.IMAGE_PUSHED,
                namespace_id=repository.namespace_id,
                subject_id=repository_id,
                repository=str(repository.name),
                digest=digest,
                tags=list(tags),
            )
        return digest

    async def set_tag(
        self,
        session: AsyncSession,
        repository_id: str,
        name: ImageTag,
        manifest_digest: ImageDigest,
        *,
        protected: bool = False,
    ) -> None:
        """Raises ManifestUnknown, TagProtected."""
        repository = await _found(session, repository_id)
        await lock_repository(session, repository_id)
        query = select(ImageManifest.id).where(
            ImageManifest.repository_id == repository_id, ImageManifest.digest == manifest_digest
        )
        manifest_id = await session.scalar(query)
        if manifest_id is None:
            raise manifest_unknown(repository.name, manifest_digest)
        await move_tag(session, repository_id, name, manifest_id, shown_name=repository.name, is_protected=protected)

    async def read_manifest(self, repository_id: str, reference: ImageDigest | ImageTag) -> StoredManifest:
        """Raises ManifestUnknown."""
        async with self.database.read() as session:
            return await find_manifest(session, await _found(session, repository_id), reference)

    async def stream_blob(self, repository_id: str, digest: ImageDigest) -> AsyncGenerator[bytes, None]:
        """In blocks, checked to the last one. The first step raises ImageBlobUnknown."""
        async with self.database.read() as session:
            blob = await find_blob(session, await _found(session, repository_id), digest)
        async with aclosing(stream_verified(self.store, blob.at)) as blocks:
            async for block in blocks:
                yield block


async def _found(session: AsyncSession, repository_id: str) -> FoundRepository:
    row = await session.get_one(Repository, repository_id)
    namespace = await session.get_one(NamespaceRow, row.namespace_id)
    # Not parsed: the namespaces that nobody can name follow no rule.
    name = RepositoryName(f"{namespace.name}/{row.path}")
    return FoundRepository(row.id, row.namespace_id, row.executor_id, name, Resource(KIND, name, namespace.owner_id))


async def _blocks(source: bytes | Path) -> AsyncGenerator[bytes, None]:
    if isinstance(source, bytes):
        yield source
        return
    file = await asyncio.to_thread(source.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
            yield block
    finally:
        file.close()
