"""Uploads as rows: found by the one who began them, in the repository that they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import BlobUploadInvalid, TooManyUploads, UploadOutOfOrder, UploadUnknown
from palomar.contract.images import RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.registry.find import FoundRepository, find_repository
from palomar.server.registry.models import ImageUpload, Repository, UploadPart
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.sink import Room, Stored
from palomar.server.registry.usage import room_left

KIND: Final = "upload"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an upload stands when a request comes in, and how much the request may bring."""

    repository: FoundRepository
    received_bytes: int
    parts: tuple[Stored, ...]
    room: Room


async def check_open_uploads(session: AsyncSession, namespace_id: str, rules: RegistryRules) -> None:
    """Raises TooManyUploads. Those that have run out and wait for the purge do not count."""
    query = select(func.count()).select_from(ImageUpload).join(Repository, Repository.id == ImageUpload.repository_id)
    is_open = ImageUpload.touched_at > utc_now() - rules.upload_ttl
    if (await session.scalar(query.where(Repository.namespace_id == namespace_id, is_open)) or 0) >= (
        rules.max_open_uploads
    ):
        raise TooManyUploads(rules.max_open_uploads)


async def find_upload(
    session: AsyncSession,
    subject: Subject,
    name: RepositoryName,
    upload_id: str,
    *,
    rules: RegistryRules,
    is_locked: bool = False,
) -> tuple[FoundRepository, ImageUpload]:
    """Raises UploadUnknown for one of another repository or caller too, and as `find_repository` for pushing."""
    repository = await find_repository(session, subject, name, Action.IMAGE_PUSH)
    row = await _select(session, upload_id, is_locked=is_locked)
    if (
        row is None
        or (row.repository_id, row.account_id) != (repository.id, subject.account_id)
        or row.touched_at <= utc_now() - rules.upload_ttl
    ):
        raise UploadUnknown(KIND, upload_id)
    return repository, row


async def _select(session: AsyncSession, upload_id: str, *, is_locked: bool) -> ImageUpload | None:
    if not _ID.fullmatch(upload_id):
        return None
    query = select(ImageUpload).where(ImageUpload.id == upload_id).execution_options(populate_existing=True)
    row: ImageUpload | None = await session.scalar(query.with_for_update() if is_locked else query)
    return row


async def place_of(
    session: AsyncSession,
    repository: FoundRepository,
    row: ImageUpload,
    *,
    start: int | None,
    length: int | None,
    rules: RegistryRules,
    is_last: bool,
) -> Place:
    """Raises UploadOutOfOrder for a chunk that begins elsewhere. Only the last request needs the parts."""
    if start is not None and start != row.received_bytes:
        raise UploadOutOfOrder(row.received_bytes)
    if row.parts >= rules.max_parts and not is_last:
        raise BlobUploadInvalid(f"an upload has at most {rules.max_parts:,} chunks")
    parts = await stored_parts(session, row.id) if is_last else []
    room = await room_for(session, repository.namespace_id, length=length, received=row.received_bytes, rules=rules)
    return Place(repository, row.received_bytes, tuple(parts), room)


async def room_for(
    session: AsyncSession, namespace_id: str, *, length: int | None, received: int = 0, rules: RegistryRules
) -> Room:
    namespace, quota, left = await room_left(session, namespace_id)
    return Room(max(0, rules.max_blob_bytes - received), length, namespace, quota, left)


async def stored_parts(session: AsyncSession, upload_id: str) -> list[Stored]:
    """In order."""
    columns = (BlobRow.key, BlobRow.stored_bytes, BlobRow.stored_digest)
    query = select(*columns).join(UploadPart, UploadPart.blob_id == BlobRow.id)
    rows = await session.execute(query.where(UploadPart.upload_id == upload_id).order_by(UploadPart.number))
    return [Stored(row.key, row.stored_bytes, row.stored_digest) for row in rows]
