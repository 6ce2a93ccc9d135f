"""Manifests and tags: pushed with all that they need, found as the policy allows, deleted without leaving a gap."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from palomar.contract.errors import (
    DigestMismatch,
    ImageBlobInUse,
    ImageBlobUnknown,
    ManifestIncomplete,
    ManifestInvalid,
    ManifestUnknown,
    QuotaExceeded,
    TagProtected,
    TooLarge,
)
from palomar.contract.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    ImageTag,
    RepositoryName,
)
from palomar.server.db.columns import utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.executors.models import Executor
from palomar.server.registry.manifests import put_manifest
from palomar.server.registry.models import ImageManifest, Repository, RepositoryBlob, TagRow
from palomar.server.wiring import Hub
from tests.factories.images import CONFIG, LAYER, body_of, descriptor, digest_of, image, index
from tests.services.executor_pushes import push as push_executor
from tests.services.pushes import join_hub
from tests.services.registry_pushes import (
    REPO,
    pull,
    pull_blob,
    push_image,
    put,
    put_blob,
    remove_blob,
    remove_manifest,
    remove_tag,
    state_of,
)

ABSENT = descriptor(b"never pushed")


async def test_a_manifest_is_pulled_as_it_was_pushed(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    for reference in ("latest", digest):
        stored = await pull(hub, alice, reference)
        assert (stored.content, stored.media_type, stored.digest) == (image(), OCI_MANIFEST, digest)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_manifest_may_be_pushed_by_its_digest(hub: Hub, algorithm: str) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    digest = digest_of(image(), algorithm)
    assert (await put(hub, alice, image(), digest)).digest == digest
    assert (await pull(hub, alice, digest)).content == image()
    with pytest.raises(DigestMismatch):
        await put(hub, alice, image(), digest_of(b"another", algorithm))


async def test_blobs_of_either_algorithm_can_be_named(hub: Hub) -> None:
    alice, uploads = await join_hub(hub), hub.registry.uploads
    for blob in (CONFIG, LAYER):
        await uploads.put(alice, REPO, digest=digest_of(blob, "sha512"), body=body_of(blob))
    with pytest.raises(ManifestIncomplete):
        await put(hub, alice, image())
    await put(hub, alice, image(algorithm="sha512"))


async def test_what_the_repository_lacks_is_named(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, CONFIG)
    # Elsewhere is not here.
    await put_blob(hub, alice, LAYER, RepositoryName("alice/letters"))
    before = await state_of(hub)
    with pytest.raises(ManifestIncomplete) as refusal:
        await put(hub, alice, image(LAYER, b"another"))
    assert refusal.value.missing == [digest_of(LAYER), digest_of(b"another")]
    assert await state_of(hub) == before


async def test_another_size_than_the_blob_has_is_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    lying = image(layers=[{**descriptor(LAYER), "size": 3}])
    with pytest.raises(ManifestInvalid, match="has 15 bytes, not 3"):
        await put(hub, alice, lying)


async def test_layers_that_are_not_distributed_need_not_be_there(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, CONFIG)
    foreign = [
        descriptor(b"1", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        descriptor(b"2", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        {**ABSENT, "urls": ["https://example.org/layer"]},
    ]
    await put(hub, alice, image(layers=foreign))
    await put(hub, alice, image(layers=[]), "no-layers")


async def test_an_index_needs_its_children(hub: Hub) -> None:
    alice = await join_hub(hub)
    document = index(image())
    with pytest.raises(ManifestIncomplete) as refusal:
        await put(hub, alice, document, media_type=OCI_INDEX)
    assert refusal.value.missing == [digest_of(image())]
    child = await push_image(hub, alice, tag="amd64")
    await put(hub, alice, document, media_type=OCI_INDEX)
    await put(hub, alice, index(document, media_type=OCI_INDEX), "nested", media_type=OCI_INDEX)
    # Its owner may take a child away: the index is a sparse one from then on.
    await remove_manifest(hub, alice, child)
    assert (await pull(hub, alice)).content == document


async def test_docker_manifests_and_lists_are_kept_as_such(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    docker = image(mediaType=DOCKER_MANIFEST)
    await put(hub, alice, docker, "docker", media_type=DOCKER_MANIFEST)
    listed = index(docker, media_type=DOCKER_MANIFEST, mediaType=DOCKER_LIST)
    await put(hub, alice, listed, "list", media_type=DOCKER_LIST)
    assert (await pull(hub, alice, "docker")).media_type == DOCKER_MANIFEST
    assert (await pull(hub, alice, "list")).media_type == DOCKER_LIST


async def test_an_artifact_with_a_subject_that_is_not_there_yet_is_accepted(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, b"{}")
    subject = descriptor(b"comes later", OCI_MANIFEST)
    content = image(config=b"{}", artifactType="text/plain", subject=subject, layers=[descriptor(b"{}", OCI_EMPTY)])
    assert (await put(hub, alice, content)).subject_digest == subject["digest"]


async def test_the_same_bytes_have_one_type(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    content = image(mediaType=None)
    await put(hub, alice, content)
    await put(hub, alice, content)
    with pytest.raises(ManifestInvalid, match="stored as"):
        await put(hub, alice, content, media_type=DOCKER_MANIFEST)


async def test_a_manifest_above_four_mebibytes_is_refused(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    padding = 4 * 1024 * 1024 - len(image(annotations={"a": ""}))
    await put(hub, alice, image(annotations={"a": "x" * padding}))
    with pytest.raises(TooLarge):
        await put(hub, alice, image(annotations={"a": "x" * (padding + 1)}))


async def test_manifests_count_in_the_quota_and_layers_of_bases_do_not(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=len(CONFIG) + len(LAYER) + len(image()))
    digest = await push_image(hub, alice)
    await put(hub, alice, image(), "again")
    with pytest.raises(QuotaExceeded):
        await put(hub, alice, image(annotations={"a": "b"}))
    await hub_writer_links_a_base(hub)
    assert (await pull(hub, alice)).digest == digest


async def hub_writer_links_a_base(hub: Hub) -> None:
    bob = await join_hub(hub, "bob")
    base = RepositoryName("bob/base")
    layer = await put_blob(hub, bob, b"a large layer of the operator's", base)
    async with hub.database.read() as session:
        ids = dict((await session.execute(select(Repository.path, Repository.id))).all())
    writer = hub.registry.writer
    await writer.link_blob(ids["digits"], layer, from_repository_id=ids["base"], is_base=True)
    with pytest.raises(QuotaExceeded):
        await writer.link_blob(ids["digits"], await put_blob(hub, bob, b"x", base), from_repository_id=ids["base"])


# --- tags --------------------------------------------------------------------------------------------------------


async def test_a_tag_moves_and_the_manifest_it_leaves_stays(hub: Hub) -> None:
    alice = await join_hub(hub)
    first = await push_image(hub, alice)
    second = await push_image(hub, alice, b"another layer")
    assert (await pull(hub, alice)).digest == second
    assert (await pull(hub, alice, first)).digest == first


async def test_tags_that_move_at_once_end_at_one_of_their_manifests(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    contents = [image(annotations={"number": str(number)}) for number in range(6)]
    await asyncio.gather(*(put(hub, alice, content) for content in contents))
    assert (await pull(hub, alice)).content in contents


async def protect(hub: Hub, name: str = "latest") -> None:
    async with hub.database.write() as session:
        await session.execute(update(TagRow).where(TagRow.name == name).values(is_protected=True))


async def test_a_protected_tag_never_moves_and_stays(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    await protect(hub)
    await put(hub, alice, image())
    with pytest.raises(TagProtected):
        await put(hub, alice, image(annotations={"a": "b"}))
    with pytest.raises(TagProtected):
        await remove_tag(hub, alice)
    with pytest.raises(TagProtected):
        await remove_manifest(hub, alice, digest)
    assert (await pull(hub, alice)).digest == digest


async def test_the_table_itself_holds_a_protected_tag(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    await put(hub, alice, image(annotations={"a": "b"}), "other")
    await protect(hub)
    async with hub.database.read() as session:
        elsewhere = await session.scalar(select(TagRow.manifest_id).where(TagRow.name == "other"))
    named = TagRow.name == "latest"
    for statement in (
        delete(TagRow).where(named),
        update(TagRow).where(named).values(manifest_id=elsewhere),
        update(TagRow).where(named).values(is_protected=False),
        update(TagRow).where(named).values(name="renamed"),
    ):
        with pytest.raises(IntegrityError):
            async with hub.database.write() as session:
                await session.execute(statement)


async def test_a_protected_tag_goes_when_its_executor_has_gone(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_executor(hub, alice, "digits")
    await push_image(hub, alice)
    await protect(hub)
    async with hub.database.write() as session:
        await session.execute(update(Repository).values(executor_id=receipt.executor_id))
    with pytest.raises(IntegrityError):
        async with hub.database.write() as session:
            await session.execute(delete(TagRow))
    async with hub.database.write() as session:
        await session.execute(update(Executor).values(deleted_at=utc_now()))
        await session.execute(delete(TagRow))


# --- deleting ----------------------------------------------------------------------------------------------------


async def test_deleting_a_tag_leaves_the_manifest(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    await put(hub, alice, image(), "other")
    await remove_tag(hub, alice)
    with pytest.raises(ManifestUnknown):
        await pull(hub, alice)
    with pytest.raises(ManifestUnknown):
        await remove_tag(hub, alice)
    assert (await pull(hub, alice, "other")).digest == (await pull(hub, alice, digest)).digest == digest


async def test_deleting_a_manifest_takes_its_tags_along(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    other = (await put(hub, alice, image(annotations={"a": "b"}), "other")).digest
    await put(hub, alice, image(), "second")
    await remove_manifest(hub, alice, digest)
    for reference in ("latest", "second", digest):
        with pytest.raises(ManifestUnknown):
            await pull(hub, alice, reference)
    with pytest.raises(ManifestUnknown):
        await remove_manifest(hub, alice, digest)
    assert (await pull(hub, alice, "other")).digest == other
    assert (await pull_blob(hub, alice, digest_of(LAYER))) == LAYER


async def test_a_blob_that_a_manifest_names_stays(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    for blob in (CONFIG, LAYER):
        with pytest.raises(ImageBlobInUse):
            await remove_blob(hub, alice, digest_of(blob))
    await remove_manifest(hub, alice, digest)
    await remove_blob(hub, alice, digest_of(LAYER))
    with pytest.raises(ImageBlobUnknown):
        await pull_blob(hub, alice, digest_of(LAYER))
    with pytest.raises(ImageBlobUnknown):
        await remove_blob(hub, alice, digest_of(LAYER))


async def test_a_blob_is_deleted_from_one_repository_alone(hub: Hub) -> None:
    alice = await join_hub(hub)
    other = RepositoryName("alice/letters")
    await put_blob(hub, alice, LAYER)
    await put_blob(hub, alice, LAYER, other)
    await remove_blob(hub, alice, digest_of(LAYER))
    assert await pull_blob(hub, alice, digest_of(LAYER), other) == LAYER


async def test_a_manifest_and_a_deletion_of_its_blob_at_once_leave_no_gap(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, CONFIG)
    for turn in range(10):
        layer = f"layer {turn}".encode()
        await put_blob(hub, alice, layer)
        pushed, deleted = await asyncio.gather(
            put(hub, alice, image(layer), f"turn-{turn}"),
            remove_blob(hub, alice, digest_of(layer)),
            return_exceptions=True,
        )
        assert isinstance(pushed, ManifestIncomplete) != isinstance(deleted, ImageBlobInUse), (pushed, deleted)
        if deleted is not None:
            assert await pull_blob(hub, alice, digest_of(layer)) == layer


async def test_pushes_and_deletions_are_recorded(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    await remove_tag(hub, alice)
    await remove_manifest(hub, alice, digest)
    async with hub.database.read() as session:
        events = (await session.scalars(select(Event).where(Event.kind.startswith("image.")).order_by(Event.id))).all()
    assert [event.kind for event in events] == [
        EventKind.IMAGE_PUSHED,
        EventKind.IMAGE_UNTAGGED,
        EventKind.IMAGE_DELETED,
    ]
    assert {event.details["repository"] for event in events} == {REPO}


async def test_many_tags_can_be_given_with_one_push(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice)
    more = tuple(map(ImageTag, ("v1", "v1.2")))
    await put_manifest(hub.database, alice, REPO, content=image(), media_type=OCI_MANIFEST, reference=digest, tags=more)
    for tag in more:
        assert (await pull(hub, alice, tag)).digest == digest


async def test_no_row_is_left_behind_by_a_manifest_that_came_and_went(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, CONFIG)
    await put_blob(hub, alice, LAYER)
    before = await state_of(hub)
    digest = (await put(hub, alice, image())).digest
    await put(hub, alice, index(image()), "index", media_type=OCI_INDEX)
    await remove_manifest(hub, alice, digest_of(index(image())))
    await remove_manifest(hub, alice, digest)
    assert await state_of(hub) == before
    async with hub.database.read() as session:
        assert (await session.scalars(select(ImageManifest))).all() == []
        assert len((await session.scalars(select(RepositoryBlob))).all()) == 2


async def test_config_and_layer_may_be_one_blob(hub: Hub) -> None:
    alice = await join_hub(hub)
    await put_blob(hub, alice, b"{}")
    await put(hub, alice, image(b"{}", config=b"{}"))
    assert descriptor(b"{}", OCI_CONFIG)["digest"] == digest_of(b"{}")
