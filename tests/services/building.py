"""Pushing Executors and having their images built, for tests of builds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import select

from palomar.server.access.policy import Subject
from palomar.server.accounts.models import Account
from palomar.server.builds.images import ImageName, WantedImage, find_image
from palomar.server.builds.log import read_lines
from palomar.server.builds.models import Build, BuildSecret
from palomar.server.builds.values import BuildRequest
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.find import find_readable
from palomar.server.executors.tags import tagged_release
from palomar.server.executors.values import ExecutorReceipt
from palomar.server.registry.models import ImageManifest, Repository, TagRow
from palomar.server.wiring import Hub
from tests.factories.builds import Building
from tests.services.executor_pushes import push
from tests.services.pushes import subject_of

NEW = AskedVersions("3.34.0", "0.38.0")


async def push_and_ask(world: Building, subject: Subject, data: bytes | None = None, **given: Any) -> Build:
    """A push of MyExecutor, and the build that follows it; it waits for somebody to run it."""
    wanted = BuildRequest(
        versions=given.pop("versions", AskedVersions()),
        build_env=given.get("build_env", {}),
        requested_by=subject.account_id,
    )
    receipt = await push(world.hub, subject, "MyExecutor", data, **given)
    build = await world.builds.after_push(receipt.executor_id, receipt.release_id, wanted)
    assert build is not None
    return build


async def push_and_build(world: Building, subject: Subject, data: bytes | None = None, **given: Any) -> Build:
    build = await push_and_ask(world, subject, data, **given)
    await world.job.run(build.id)
    return await read_build(world.hub, build.id)


async def ask_again(world: Building, receipt: ExecutorReceipt, **given: Any) -> Build:
    build = await world.builds.after_push(receipt.executor_id, receipt.release_id, BuildRequest(**given))
    assert build is not None
    return build


async def subject_named(hub: Hub, name: str) -> Subject:
    """Of somebody who has joined already."""
    async with hub.database.read() as session:
        account_id = (await session.scalars(select(Account.id).where(Account.name == name))).one()
    return subject_of(account_id, name)


async def read_build(hub: Hub, build_id: str) -> Build:
    async with hub.database.read() as session:
        return await session.get_one(Build, build_id)


async def set_build(hub: Hub, build_id: str, **values: Any) -> None:
    async with hub.database.write() as session:
        build = await session.get_one(Build, build_id)
        for name, value in values.items():
            setattr(build, name, value)


async def log_of(hub: Hub, build_id: str) -> list[str]:
    async with hub.database.read() as session:
        return [line.text for line in await read_lines(session, build_id)]


@asynccontextmanager
async def worker(world: Building) -> AsyncIterator[None]:
    """Runs what waits, as the job engine would."""

    async def work() -> None:
        while True:
            async with world.hub.database.read() as session:
                waiting = list(await session.scalars(select(Build.id).where(Build.state == "waiting")))
            for build_id in waiting:
                await world.job.run(build_id)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def has_secrets(hub: Hub) -> bool:
    async with hub.database.read() as session:
        return await session.scalar(select(BuildSecret.build_id)) is not None


async def image_of(
    world: Building, subject: Subject, versions: AskedVersions | None = None, *, tag: str | None = None, **given: Any
) -> ImageName:
    async with world.hub.database.read() as session:
        found = await find_readable(session, subject, "alice/MyExecutor")
        release = await tagged_release(session, found.executor, tag, asked_name="alice/MyExecutor")
    wanted = WantedImage(versions or AskedVersions(), account_id=subject.account_id, **given)
    return await find_image(world.builds, found, release.id, wanted)


async def image_tags(hub: Hub) -> dict[str, tuple[str, bool]]:
    """The digest of the manifest that each tag names, and whether the tag is protected; of all repositories."""
    query = select(TagRow.name, ImageManifest.digest, TagRow.is_protected)
    query = query.join(ImageManifest, ImageManifest.id == TagRow.manifest_id)
    async with hub.database.read() as session:
        rows = await session.execute(query.join(Repository, Repository.id == TagRow.repository_id))
        return {name: (digest, is_protected) for name, digest, is_protected in rows}
