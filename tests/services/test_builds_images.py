"""Which image a caller gets, and what the tags of images name."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select, update

from palomar.contract.errors import ImageBuildFailed, ImageBuilding, ImageNotBuilt
from palomar.contract.images import OCI_MANIFEST, ImageTag
from palomar.server.access.policy import ANONYMOUS
from palomar.server.builds.builder import BuildFailure, BuildOrder, Log
from palomar.server.builds.tags import sync_image_tags
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.find import hash_secret
from palomar.server.executors.models import Executor
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.registry.models import ImageManifest, Repository, TagRow
from palomar.server.wiring import Hub
from tests.factories.builds import Building, building
from tests.services.building import (
    NEW,
    ask_again,
    image_of,
    image_tags,
    push_and_ask,
    push_and_build,
    read_build,
    worker,
)
from tests.services.executor_pushes import delete, find, move, package, push, tags, undelete, untag
from tests.services.executor_pushes import update as change
from tests.services.pushes import join_hub


async def test_the_image_of_a_push_is_there_for_whoever_has_its_versions_or_says_none(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    expected = f"alice/myexecutor:{build.image_tag}"
    assert str(await image_of(world, ANONYMOUS)) == expected
    assert str(await image_of(world, ANONYMOUS, AskedVersions("3.34.0", "0.21.0"))) == expected
    assert len(world.builder.orders) == 1


async def test_other_versions_are_built_when_they_are_asked_for_and_once(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    async with worker(world):
        names = await asyncio.gather(*(image_of(world, ANONYMOUS, NEW) for _ in range(4)))
    assert len(set(names)) == 1
    assert names[0].tag != build.image_tag
    assert [order.variant.versions.docarray for order in world.builder.orders] == ["0.21.0", "0.38.0"]


async def test_whoever_takes_any_versions_gets_those_of_the_push(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    assert (await image_of(world, ANONYMOUS, NEW, any_versions=True)).tag == build.image_tag
    assert len(world.builder.orders) == 1


async def test_an_executor_from_before_the_base_image_gets_its_image_when_it_is_asked_for(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    async with worker(world):
        assert (await image_of(world, ANONYMOUS)).repository == "alice/myexecutor"


async def test_the_wait_has_a_bound_and_its_answer_says_what_goes_on(hub: Hub) -> None:
    world, alice = building(hub, wait_s=1), await join_hub(hub)
    await push_and_ask(world, alice)
    with pytest.raises(ImageBuilding) as caught:
        await image_of(world, ANONYMOUS)
    assert caught.value.state == "waiting"
    assert "ask again" in caught.value.detail


async def test_a_failed_build_is_told_and_not_tried_again_by_asking(hub: Hub) -> None:
    async def fail(_order: BuildOrder, _log: Log) -> None:
        raise BuildFailure("there is no numpy 99", "Ask for another version.")

    world, alice = building(hub, script=fail), await join_hub(hub)
    await push_and_build(world, alice)
    for _ in range(3):
        with pytest.raises(ImageBuildFailed) as caught:
            await image_of(world, ANONYMOUS)
    assert caught.value.detail.endswith("could not be built: there is no numpy 99. Ask for another version.")
    assert len(world.builder.orders) == 1


async def test_a_failure_of_the_hubs_is_tried_again_after_a_while(hub: Hub) -> None:
    failures = [RuntimeError("the moon")]

    async def fail_once(_order: BuildOrder, _log: Log) -> None:
        if failures:
            raise failures.pop()

    world, alice = building(hub, script=fail_once, retry_s=3600), await join_hub(hub)
    await push_and_build(world, alice)
    with pytest.raises(ImageBuildFailed):
        await image_of(world, ANONYMOUS)
    impatient = building(hub, retry_s=-1)
    async with worker(impatient):
        assert (await image_of(impatient, ANONYMOUS)).tag.startswith("r1-")


async def test_where_nothing_is_built_the_answer_says_whose_matter_that_is(hub: Hub) -> None:
    off, alice = building(hub, is_on=False), await join_hub(hub)
    await push(hub, alice, "MyExecutor")
    with pytest.raises(ImageNotBuilt, match="operator"):
        await image_of(off, ANONYMOUS)
    await push_and_ask(building(hub), alice, package(Dockerfile=b"FROM python:3.11\n"))
    with pytest.raises(ImageNotBuilt, match="PALOMAR_DOCKERFILE_BUILDS"):
        await image_of(building(hub), ANONYMOUS)


async def test_an_image_that_exists_is_given_out_even_where_nothing_is_built_any_more(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    assert (await image_of(building(hub, is_on=False), ANONYMOUS)).tag == build.image_tag


async def test_other_versions_of_what_needs_values_wait_for_a_push(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice, build_env={"TOKEN": "s3cret"})
    assert (await image_of(world, ANONYMOUS)).tag == build.image_tag
    with pytest.raises(ImageNotBuilt) as caught:
        await image_of(world, ANONYMOUS, NEW)
    assert "TOKEN" in caught.value.detail
    assert "jina 3.34.0 with docarray 0.21.0" in caught.value.detail
    assert "s3cret" not in caught.value.detail


async def test_an_old_executor_has_its_images_under_legacy_unless_it_has_a_secret(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    receipt = await push(hub, alice, "MyExecutor")
    async with hub.database.write() as session:
        namespace = await legacy_namespace(session)
        await session.execute(update(Executor).values(namespace_id=namespace.id, name="Old", name_key="old"))
    build = await ask_again(world, receipt)
    await world.job.run(build.id)
    async with hub.database.read() as session:
        repository = await session.get_one(Repository, (await read_build(hub, build.id)).repository_id)
    assert (repository.namespace_id, repository.path) == (namespace.id, receipt.short_id)
    assert str(await _old_image(world)) == f"legacy/{receipt.short_id}:{(await read_build(hub, build.id)).image_tag}"
    async with hub.database.write() as session:
        await session.execute(update(Executor).values(secret_hash=hash_secret("s3cret")))
    with pytest.raises(ImageNotBuilt, match="secret"):
        await _old_image(world)


async def _old_image(world: Building) -> object:
    from palomar.server.builds.images import WantedImage, find_image
    from palomar.server.executors.tags import newest_release

    found = await find(world.hub, ANONYMOUS, "Old")
    async with world.hub.database.read() as session:
        release = await newest_release(session, found.executor)
    assert release is not None
    return await find_image(world.builds, found, release.id, WantedImage(AskedVersions()))


# --- tags ------------------------------------------------------------------------------------------------------------


async def test_an_images_own_tag_is_protected_and_the_release_tags_follow(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice, tags=tags("latest", "v1", protected=["v1"]))
    digest = str(build.manifest_digest)
    assert await image_tags(hub) == {
        str(build.image_tag): (digest, True),
        "latest": (digest, False),
        "v1": (digest, True),
    }


async def test_a_push_takes_the_moved_tags_from_the_old_image_until_the_new_one_is_there(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    first = await push_and_build(world, alice)
    second = await push_and_ask(world, alice, package("Another."))
    assert set(await image_tags(hub)) == {first.image_tag}
    await world.job.run(second.id)
    second = await read_build(hub, second.id)
    assert (await image_tags(hub))["latest"] == (second.manifest_digest, False)


async def test_moving_and_deleting_a_release_tag_moves_and_deletes_the_images(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    first = await push_and_build(world, alice, tags=tags("v1"))
    second = await push_and_build(world, alice, package("Another."), tags=tags("v2"))
    found = await move(hub, alice, "alice/MyExecutor", "stable", 1)
    await _sync(hub, found.executor.id)
    assert (await image_tags(hub))["stable"] == (first.manifest_digest, False)
    await move(hub, alice, "alice/MyExecutor", "stable", 2)
    await _sync(hub, found.executor.id)
    assert (await image_tags(hub))["stable"] == (second.manifest_digest, False)
    await untag(hub, alice, "alice/MyExecutor", "stable")
    await _sync(hub, found.executor.id)
    assert "stable" not in await image_tags(hub)


async def _sync(hub: Hub, executor_id: str) -> None:
    async with hub.database.write() as session:
        await sync_image_tags(session, executor_id)


async def test_variants_do_not_move_the_tags_of_a_release(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    async with worker(world):
        await image_of(world, ANONYMOUS, NEW)
    assert (await image_tags(hub))["latest"] == (build.manifest_digest, False)


async def test_what_somebody_pushed_under_a_tag_of_their_own_stays(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    async with hub.database.read() as session:
        content = (await session.scalars(select(ImageManifest.content))).first()
    assert content is not None
    repository_id, own = str(build.repository_id), content.replace(b'"schemaVersion": 2', b'"schemaVersion":2')
    await hub.registry.writer.put_manifest(repository_id, own, OCI_MANIFEST, tags=[ImageTag("mine")])
    await push_and_ask(world, alice, package("Another."))
    assert set(await image_tags(hub)) == {build.image_tag, "mine"}


async def test_a_new_executor_of_a_name_that_another_one_had_gets_a_repository_of_its_own(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    first = await push_and_build(world, alice)
    await change(hub, alice, "alice/MyExecutor", name="Other")
    again = await push_and_build(world, alice)
    async with hub.database.read() as session:
        paths = {row.id: row.path for row in await session.scalars(select(Repository))}
    assert paths[str(first.repository_id)] == "myexecutor"
    assert paths[str(again.repository_id)].startswith("x-")


async def test_an_executor_that_is_brought_back_has_its_images_again(hub: Hub) -> None:
    world, alice = building(hub), await join_hub(hub)
    build = await push_and_build(world, alice)
    found = await delete(hub, alice, "alice/MyExecutor")
    await undelete(hub, alice, found.executor.id)
    assert (await image_of(world, ANONYMOUS)).tag == build.image_tag
    async with hub.database.read() as session:
        assert await session.scalar(select(TagRow.name).where(TagRow.name == build.image_tag)) is not None
