"""Manifests: pulled by tag or digest, and pushed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action
from palomar.contract.errors import DigestMismatch, ManifestUnknown, TooLarge
from palomar.contract.images import ImageDigest, ImageTag, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.registry.document import ParsedManifest, parse_manifest
from palomar.server.registry.find import FoundRepository, allowed, named, open_repository, select_named
from palomar.server.registry.manifest_rows import add_manifest, lock_repository, move_tag
from palomar.server.registry.models import ImageManifest, Repository, TagRow
from palomar.server.registry.rules import MAX_MANIFEST_BYTES
from palomar.server.registry.usage import check_room
from palomar.server.registry.values import PutResult, StoredManifest

KIND = "manifest"

_COLUMNS = (ImageManifest.digest, ImageManifest.media_type, ImageManifest.content)
_BY_DIGEST = select_named(*_COLUMNS).outerjoin(
    ImageManifest,
    and_(ImageManifest.repository_id == Repository.id, ImageManifest.digest == bindparam("reference")),
)
_BY_TAG = (
    select_named(*_COLUMNS)
    .outerjoin(TagRow, and_(TagRow.repository_id == Repository.id, TagRow.name == bindparam("reference")))
    .outerjoin(ImageManifest, ImageManifest.id == TagRow.manifest_id)
)


async def find_manifest_for(
    database: Database, subject: Subject, name: RepositoryName, reference: ImageDigest | ImageTag
) -> StoredManifest:
    """`find_repository` for reading and `find_manifest` in one prepared SELECT: asked once or twice by every pull."""
    query = _BY_DIGEST if isinstance(reference, ImageDigest) else _BY_TAG
    async with database.engine.connect() as connection:
        row = (await connection.execute(query, {**named(name), "reference": reference})).first()
    allowed(subject, Action.IMAGE_READ, name, row)
    return _stored(row, name, reference)


async def find_manifest(
    session: AsyncSession, repository: FoundRepository, reference: ImageDigest | ImageTag
) -> StoredManifest:
    """Raises ManifestUnknown."""
    query = select(*_COLUMNS).where(ImageManifest.repository_id == repository.id)
    if isinstance(reference, ImageDigest):
        query = query.where(ImageManifest.digest == reference)
    else:
        tagged = and_(TagRow.manifest_id == ImageManifest.id, TagRow.repository_id == repository.id)
        query = query.join(TagRow, tagged).where(TagRow.name == reference)
    return _stored((await session.execute(query)).first(), repository.name, reference)


def _stored(
    row: Row[*tuple[Any, ...]] | None, name: RepositoryName, reference: ImageDigest | ImageTag
) -> StoredManifest:
    if row is None or row.digest is None:
        raise manifest_unknown(name, reference)
    return StoredManifest(ImageDigest(row.digest), row.media_type, row.content)


def manifest_unknown(name: RepositoryName, reference: ImageDigest | ImageTag) -> ManifestUnknown:
    sign = "@" if isinstance(reference, ImageDigest) else ":"
    return ManifestUnknown(KIND, f"{name}{sign}{reference}")


async def put_manifest(
    database: Database,
    subject: Subject,
    name: RepositoryName,
    *,
    content: bytes,
    media_type: str | None,
    reference: ImageDigest | ImageTag,
    tags: Sequence[ImageTag] = (),
) -> PutResult:
    """Durable on return. A digest as the reference is checked, a tag is moved, and so are ``tags``.

    Raises ManifestInvalid, ManifestIncomplete, DigestMismatch, TooLarge, TagProtected, QuotaExceeded, Busy, and as
    `open_repository`.
    """
    digest = await digest_of(content, reference)
    parsed = await read_manifest(content, media_type)
    names = tags if isinstance(reference, ImageDigest) else (reference, *tags)
    async with database.write() as session:
        repository = await open_repository(session, subject, name)
        await store_manifest(session, repository, digest, parsed, content, names)
        details = {"repository": name, "digest": digest, "tags": list(names)}
        _record(session, subject, repository, details)
    return PutResult(digest, parsed.subject.digest if parsed.subject else None)


async def store_manifest(
    session: AsyncSession,
    repository: FoundRepository,
    digest: ImageDigest,
    parsed: ParsedManifest,
    content: bytes,
    tags: Sequence[str],
    *,
    is_protected: bool = False,
) -> str:
    """The id of the manifest's row."""
    await lock_repository(session, repository.id)
    manifest_id = await add_manifest(session, repository.id, digest, parsed, content)
    for tag in sorted(set(tags)):
        await move_tag(session, repository.id, tag, manifest_id, shown_name=repository.name, is_protected=is_protected)
    await check_room(session, repository.namespace_id)
    return manifest_id


async def read_manifest(content: bytes, media_type: str | None) -> ParsedManifest:
    """`parse_manifest` in a thread: four megabytes of JSON take too long for everybody else to wait."""
    if len(content) > MAX_MANIFEST_BYTES:
        raise TooLarge("The manifest", MAX_MANIFEST_BYTES)
    return await asyncio.to_thread(parse_manifest, content, media_type)


async def digest_of(content: bytes, reference: ImageDigest | ImageTag | None = None) -> ImageDigest:
    """By the reference's algorithm, or sha256. Raises DigestMismatch."""
    algorithm = reference.algorithm if isinstance(reference, ImageDigest) else "sha256"
    hexadecimal = (await asyncio.to_thread(hashlib.new, algorithm, content)).hexdigest()
    digest = ImageDigest(f"{algorithm}:{hexadecimal}")
    if isinstance(reference, ImageDigest) and digest != reference:
        raise DigestMismatch(reference, digest)
    return digest


def _record(session: AsyncSession, subject: Subject, repository: FoundRepository, details: dict[str, Any]) -> None:
    record(
        session,
        EventKind.IMAGE_PUSHED,
        account_id=subject.account_id,
        namespace_id=repository.namespace_id,
        subject_id=repository.id,
        **details,
    )
