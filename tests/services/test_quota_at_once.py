"""First pushes to one namespace with a quota, at once: each makes a row, and none is turned away as too busy."""

from __future__ import annotations

import asyncio

from sqlalchemy import func, select

from palomar.contract.images import RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.artifacts.models import Artifact
from palomar.server.executors.models import Executor
from palomar.server.registry.models import Repository
from palomar.server.wiring import Hub
from tests.services.executor_pushes import package, push
from tests.services.pushes import documents, join_hub, push_array
from tests.services.registry_pushes import put_blob

AT_ONCE = 8
QUOTA = 1 << 30


async def push_array_number(hub: Hub, subject: Subject, number: int) -> None:
    await push_array(hub, subject, f"alice/array-{number}", documents(2, first=2 * number))


async def push_executor_number(hub: Hub, subject: Subject, number: int) -> None:
    await push(hub, subject, f"alice/Executor{number}", package(f"Number {number}."))


async def push_blob_number(hub: Hub, subject: Subject, number: int) -> None:
    await put_blob(hub, subject, b"blob %d" % number, RepositoryName(f"alice/repo-{number}"))


async def rows(hub: Hub, table: type) -> int:
    async with hub.database.read() as session:
        return int(await session.scalar(select(func.count()).select_from(table)) or 0)


async def test_first_pushes_of_arrays_do_not_wait_for_each_other_for_ever(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=QUOTA)
    await asyncio.gather(*(push_array_number(hub, alice, number) for number in range(AT_ONCE)))
    assert await rows(hub, Artifact) == AT_ONCE


async def test_first_pushes_of_executors_do_not_wait_for_each_other_for_ever(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=QUOTA)
    await asyncio.gather(*(push_executor_number(hub, alice, number) for number in range(AT_ONCE)))
    assert await rows(hub, Executor) == AT_ONCE


async def test_first_pushes_of_every_kind_do_not_wait_for_each_other_for_ever(hub: Hub) -> None:
    alice = await join_hub(hub, quota_bytes=QUOTA)
    kinds = (push_array_number, push_executor_number, push_blob_number)
    await asyncio.gather(*(kind(hub, alice, number) for number in range(AT_ONCE // 2) for kind in kinds))
    assert [await rows(hub, table) for table in (Artifact, Executor, Repository)] == [AT_ONCE // 2] * 3


async def test_the_same_bytes_as_an_executor_and_as_a_blob(hub: Hub) -> None:
    """Both want one row of `blobs` and the namespace's: in the same order, or each would have what the other needs."""
    alice = await join_hub(hub, quota_bytes=QUOTA)
    repository = RepositoryName("alice/repo")
    await put_blob(hub, alice, b"the repository is there", repository)
    numbers = range(AT_ONCE)
    await asyncio.gather(
        *(push_executor_number(hub, alice, number) for number in numbers),
        *(put_blob(hub, alice, package(f"Number {number}."), repository) for number in numbers),
    )
    assert await rows(hub, Executor) == AT_ONCE
