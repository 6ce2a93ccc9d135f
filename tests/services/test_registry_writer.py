"""Images that the hub makes itself: put into repositories that belong to Executors, and nobody asked whether."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
from sqlalchemy import select

from palomar.contract.errors import (
    ImageBlobUnknown,
    ManifestIncomplete,
    ManifestUnknown,
    NameTaken,
    QuotaExceeded,
    TagProtected,
)
from palomar.contract.images import OCI_MANIFEST, ImageDigest, ImageTag
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.wiring import Hub
from tests.factories.images import CONFIG, LAYER, digest_of, image
from tests.services.executor_pushes import push as push_executor
from tests.services.pushes import join_hub
from tests.services.registry_pushes import pull, pull_blob, push_image, state_of

TAGS = (ImageTag("r1-0123456789ab"),)


async def repository(hub: Hub, path: str = "digits", executor_id: str | None = None, owner: str = "alice") -> str:
    async with hub.database.write() as session:
        namespace_id = (await session.scalars(select(NamespaceRow.id).where(NamespaceRow.name == owner))).one()
        return await hub.registry.writer.ensure_repository(
            session, namespace_id=namespace_id, path=path, executor_id=executor_id
        )


async def read(hub: Hub, repository_id: str, digest: ImageDigest) -> bytes:
    async with aclosing(hub.registry.writer.stream_blob(repository_id, digest)) as blocks:
        return b"".join([block async for block in blocks])


async def test_an_image_is_written_and_pulled(hub: Hub, tmp_path: Path) -> None:
    alice, writer = await join_hub(hub), hub.registry.writer
    repository_id = await repository(hub)
    file = tmp_path / "layer"
    file.write_bytes(LAYER)
    descriptor = await writer.add_blob(repository_id, file)
    assert (descriptor.digest, descriptor.size_bytes) == (digest_of(LAYER), len(LAYER))
    with pytest.raises(ManifestIncomplete):
        await writer.put_manifest(repository_id, image(), OCI_MANIFEST)
    await writer.add_blob(repository_id, CONFIG)
    digest = await writer.put_manifest(repository_id, image(), OCI_MANIFEST, tags=TAGS, protected=True)
    assert (await pull(hub, alice, TAGS[0])).digest == digest
    assert await pull_blob(hub, alice, digest_of(LAYER)) == await read(hub, repository_id, digest_of(LAYER)) == LAYER
    assert (await writer.read_manifest(repository_id, TAGS[0])).content == image()
    other = image(annotations={"a": "b"})
    with pytest.raises(TagProtected):
        await writer.put_manifest(repository_id, other, OCI_MANIFEST, tags=TAGS)


async def test_a_repository_is_made_once_and_linked_once(hub: Hub) -> None:
    alice = await join_hub(hub)
    first, second = [(await push_executor(hub, alice, name)).executor_id for name in ("digits", "letters")]
    repository_id = await repository(hub)
    assert await repository(hub) == repository_id
    assert await repository(hub, executor_id=first) == repository_id
    assert await repository(hub, executor_id=first) == repository_id
    assert await repository(hub) == repository_id
    with pytest.raises(NameTaken):
        await repository(hub, executor_id=second)


async def test_tags_are_set_within_a_transaction(hub: Hub) -> None:
    alice, writer = await join_hub(hub), hub.registry.writer
    digest = await push_image(hub, alice)
    repository_id = await repository(hub)
    async with hub.database.write() as session:
        await writer.set_tag(session, repository_id, ImageTag("v1"), digest)
        await writer.set_tag(session, repository_id, ImageTag("v1"), digest, protected=True)
    assert (await pull(hub, alice, "v1")).digest == digest
    with pytest.raises(ManifestUnknown):
        async with hub.database.write() as session:
            await writer.set_tag(session, repository_id, ImageTag("v2"), digest_of(b"nothing"))


async def test_a_blob_is_linked_from_another_repository(hub: Hub) -> None:
    await join_hub(hub)
    source, target = await repository(hub, "base"), await repository(hub)
    await hub.registry.writer.add_blob(source, LAYER)
    writer = hub.registry.writer
    linked = await writer.link_blob(target, digest_of(LAYER), from_repository_id=source, is_base=True)
    assert linked.size_bytes == len(LAYER)
    assert await read(hub, target, digest_of(LAYER)) == LAYER
    with pytest.raises(ImageBlobUnknown):
        await writer.link_blob(target, digest_of(b"nothing"), from_repository_id=source)
    with pytest.raises(ImageBlobUnknown):
        await read(hub, target, digest_of(b"nothing"))


async def test_what_does_not_fit_is_not_kept(hub: Hub) -> None:
    await join_hub(hub, quota_bytes=10)
    repository_id = await repository(hub)
    before = await state_of(hub)
    with pytest.raises(QuotaExceeded):
        await hub.registry.writer.add_blob(repository_id, LAYER)
    with pytest.raises(FileNotFoundError):
        await hub.registry.writer.add_blob(repository_id, Path("/nowhere/at/all"))
    assert await state_of(hub) == before
