"""Pushing Executors and looking at what is left, for tests of their use cases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from palomar.contract.names import Tag
from palomar.server.access.policy import Subject
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.verified import stream_verified
from palomar.server.db.columns import utc_now
from palomar.server.events.models import Event
from palomar.server.executors.find import find_readable
from palomar.server.executors.manage import (
    ExecutorChanges,
    delete_executor,
    delete_tag,
    retag,
    undelete_executor,
    update_executor,
)
from palomar.server.executors.models import Executor, PushTask, Release, ReleaseTag
from palomar.server.executors.resource import FoundExecutor
from palomar.server.executors.tags import WantedTags, tagged_release
from palomar.server.executors.values import ExecutorPush, ExecutorReceipt
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.services.pushes import State
from tests.unit.packages.zips import zipped

WEEK = timedelta(days=7)
_SOURCE = '''from jina import Executor, requests


class MyExecutor(Executor):
    """{docstring}"""

    def __init__(self, {arguments}, **kwargs):
        super().__init__(**kwargs)

    @requests(on="{endpoint}")
    def encode(self, docs, **kwargs):
        return docs
'''
_CONFIG = "jtype: MyExecutor\npy_modules:\n  - executor.py\nmetas:\n  name: MyExecutor\n"


def package(
    docstring: str = "Encodes.",
    *,
    arguments: str = "size: int = 1",
    endpoint: str = "/encode",
    metas: str = "",
    **files: bytes,
) -> bytes:
    """A right one; packages with another ``docstring`` are different packages of the same contract."""
    source = _SOURCE.format(docstring=docstring, arguments=arguments, endpoint=endpoint)
    more = {name.replace("_", ".", 1): data for name, data in files.items()}
    return zipped({"config.yml": (_CONFIG + metas).encode(), "executor.py": source.encode(), **more})


def tags(*names: str, protected: Sequence[str] = ()) -> WantedTags:
    return WantedTags(tuple(map(Tag, names)), tuple(map(Tag, protected)))


async def push(
    hub: Hub, subject: Subject, name: str | None, data: bytes | None = None, **given: Any
) -> ExecutorReceipt:
    pusher, wanted = hub.executor_pusher, ExecutorPush(name=name, **given)
    async with pusher.spool() as spool:
        await spool.write(package() if data is None else data)
        return await pusher.store_release(subject, wanted, await pusher.read(spool, wanted), spool)


async def find(hub: Hub, subject: Subject, reference: str, **options: Any) -> FoundExecutor:
    async with hub.database.read() as session:
        return await find_readable(session, subject, reference, **options)


async def release_of(hub: Hub, subject: Subject, reference: str, tag: str | None = None, **options: Any) -> Release:
    """What a client that asks for this gets."""
    async with hub.database.read() as session:
        found = await find_readable(session, subject, reference, **options)
        return await tagged_release(session, found.executor, tag, asked_name=reference)


async def pull(hub: Hub, subject: Subject, reference: str, tag: str | None = None, **options: Any) -> bytes:
    release = await release_of(hub, subject, reference, tag, **options)
    blocks = stream_verified(hub.blobs, await hub.arrays.stored(release.package_id))
    async with aclosing(blocks):
        return b"".join([block async for block in blocks])


async def tags_by_name(hub: Hub, executor_id: str) -> dict[str, tuple[int, bool]]:
    """The number of the release that each tag names, and whether it is protected."""
    query = select(ReleaseTag.name, Release.number, ReleaseTag.is_protected)
    query = query.join(Release, Release.id == ReleaseTag.release_id).where(ReleaseTag.executor_id == executor_id)
    async with hub.database.read() as session:
        return {name: (number, is_protected) for name, number, is_protected in await session.execute(query)}


async def update(hub: Hub, subject: Subject, reference: str, **changes: Any) -> FoundExecutor:
    async with hub.database.write() as session:
        return await update_executor(session, subject, reference, ExecutorChanges(**changes))


async def move(
    hub: Hub, subject: Subject, reference: str, tag: str, number: int, *, is_protected: bool = False
) -> FoundExecutor:
    async with hub.database.write() as session:
        return await retag(session, subject, reference, release_number=number, tag=Tag(tag), is_protected=is_protected)


async def untag(hub: Hub, subject: Subject, reference: str, tag: str) -> FoundExecutor:
    async with hub.database.write() as session:
        return await delete_tag(session, subject, reference, Tag(tag))


async def delete(hub: Hub, subject: Subject, reference: str) -> FoundExecutor:
    async with hub.database.write() as session:
        return await delete_executor(session, subject, reference)


async def undelete(hub: Hub, subject: Subject, executor_id: str, *, window: timedelta = WEEK) -> FoundExecutor:
    async with hub.database.write() as session:
        return await undelete_executor(session, subject, executor_id, window=window)


async def deleted_ago(hub: Hub, subject: Subject, reference: str, ago: timedelta) -> str:
    executor_id = (await delete(hub, subject, reference)).executor.id
    async with hub.database.write() as session:
        executor = await session.get_one(Executor, executor_id)
        executor.deleted_at = utc_now() - ago
    return executor_id


async def set_namespace(hub: Hub, name: str, **values: Any) -> None:
    async with hub.database.write() as session:
        row = (await session.scalars(select(NamespaceRow).where(NamespaceRow.name == name))).one()
        for key, value in values.items():
            setattr(row, key, value)


async def kinds_of_events(hub: Hub, executor_id: str) -> list[str]:
    async with hub.database.read() as session:
        query = select(Event.kind).where(Event.subject_id == executor_id).order_by(Event.id)
        return list((await session.scalars(query)).all())


async def state_of(hub: Hub) -> State:
    """What a refused request must leave as it was."""
    tables = (NamespaceRow, Executor, Release, ReleaseTag, PushTask, BlobRow, Event)
    async with hub.database.read() as session:
        rows = {table.__tablename__: await session.scalar(select(func.count()).select_from(table)) for table in tables}
    return State(rows, frozenset(await stored_keys(hub.blobs)))


@dataclass
class CountedWrites:
    """A blob store that counts how often something was about to be stored."""

    store: Any
    writes: int = 0

    def __getattr__(self, name: str) -> Any:
        if name in {"put", "writer"}:
            self.writes += 1
        return getattr(self.store, name)
