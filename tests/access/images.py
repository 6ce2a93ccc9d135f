"""A repository for the access matrix: one image under a tag, a blob that nothing needs, an upload that is under way."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import update

from palomar.contract.actions import Visibility
from palomar.contract.images import ImageDigest, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.registry.manifests import put_manifest
from palomar.server.registry.models import Repository
from palomar.server.wiring import Hub
from tests.api.oci import Image, one_piece, sha256


@dataclass(frozen=True)
class ImageThing:
    """Every text of it that a refusal may echo is as long as any other's."""

    manifest: bytes
    digest: str
    blob: str
    upload_id: str


def new_bytes(name: str) -> bytes:
    return f"what is pushed to {name}".encode()


async def make_image(hub: Hub, owner: Subject, name: str, *, is_public: bool) -> ImageThing:
    path, image, loose = RepositoryName.parse(name), Image(name, layers=1), f"a loose blob of {name}".encode()
    for blob in (*image.blobs, loose):
        digest = ImageDigest(sha256(blob))
        await hub.registry.uploads.put(owner, path, digest=digest, body=one_piece(blob))
    await put_manifest(
        hub.database, owner, path, content=image.manifest, media_type=None, reference=ImageDigest(image.digest)
    )
    upload = await hub.registry.uploads.start(owner, path)
    visibility = Visibility.PUBLIC if is_public else Visibility.PRIVATE
    async with hub.database.write() as session:
        mine = update(Repository).where(Repository.path == path.path)
        await session.execute(mine.values(visibility=visibility))
    return ImageThing(image.manifest, image.digest, sha256(loose), upload.id)


ABSENT_IMAGE = ImageThing(Image("absent").manifest, "sha256:" + "e" * 64, "sha256:" + "f" * 64, "f" * 32)
