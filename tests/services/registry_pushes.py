"""Pushing and pulling images, and looking at what is left, for tests of the registry's use cases."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

from sqlalchemy import func, select

from palomar.contract.images import OCI_MANIFEST, ImageDigest, ImageTag, RepositoryName, parse_reference
from palomar.server.access.policy import Subject
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.verified import stream_verified
from palomar.server.registry.blobs import find_blob_for
from palomar.server.registry.deleting import delete_blob, delete_manifest, delete_tag
from palomar.server.registry.manifests import find_manifest_for, put_manifest
from palomar.server.registry.models import (
    ImageManifest,
    ImageUpload,
    ManifestBlob,
    RepositoryBlob,
    TagRow,
    UploadPart,
)
from palomar.server.registry.values import PutResult, StoredManifest
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.factories.images import CONFIG, LAYER, body_of, digest_of, image
from tests.services.pushes import State

REPO = RepositoryName("alice/digits")
LATEST = ImageTag("latest")


async def put_blob(hub: Hub, subject: Subject, data: bytes, name: RepositoryName = REPO) -> ImageDigest:
    digest = digest_of(data)
    await hub.registry.uploads.put(subject, name, digest=digest, body=body_of(data), length=len(data))
    return digest


async def put(
    hub: Hub,
    subject: Subject,
    content: bytes,
    reference: str = "latest",
    *,
    name: RepositoryName = REPO,
    media_type: str | None = OCI_MANIFEST,
) -> PutResult:
    return await put_manifest(
        hub.database, subject, name, content=content, media_type=media_type, reference=parse_reference(reference)
    )


async def push_image(
    hub: Hub, subject: Subject, *layers: bytes, name: RepositoryName = REPO, tag: str = "latest", **more: Any
) -> ImageDigest:
    """An image with everything that it needs."""
    for blob in (CONFIG, *(layers or (LAYER,))):
        await put_blob(hub, subject, blob, name)
    return (await put(hub, subject, image(*layers, **more), tag, name=name)).digest


async def pull_blob(hub: Hub, subject: Subject, digest: ImageDigest, name: RepositoryName = REPO) -> bytes:
    blob = await find_blob_for(hub.database, subject, name, digest)
    async with aclosing(stream_verified(hub.blobs, blob.at)) as blocks:
        return b"".join([block async for block in blocks])


async def pull(hub: Hub, subject: Subject, reference: str = "latest", name: RepositoryName = REPO) -> StoredManifest:
    return await find_manifest_for(hub.database, subject, name, parse_reference(reference))


async def remove_manifest(hub: Hub, subject: Subject, digest: ImageDigest, name: RepositoryName = REPO) -> None:
    async with hub.database.write() as session:
        await delete_manifest(session, subject, name, digest)


async def remove_tag(hub: Hub, subject: Subject, tag: str = "latest", name: RepositoryName = REPO) -> None:
    async with hub.database.write() as session:
        await delete_tag(session, subject, name, ImageTag(tag))


async def remove_blob(hub: Hub, subject: Subject, digest: ImageDigest, name: RepositoryName = REPO) -> None:
    async with hub.database.write() as session:
        await delete_blob(session, subject, name, digest)


async def state_of(hub: Hub) -> State:
    """What a refused request must leave as it was."""
    tables = (BlobRow, RepositoryBlob, ImageManifest, ManifestBlob, TagRow, ImageUpload, UploadPart)
    async with hub.database.read() as session:
        rows = {table.__tablename__: await session.scalar(select(func.count()).select_from(table)) for table in tables}
    return State(rows, frozenset(await stored_keys(hub.blobs)))
