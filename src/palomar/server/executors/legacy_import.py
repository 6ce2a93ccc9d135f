"""Importing Executors that were pushed before namespaces existed: ``executors/NAME.zip``, and what the catalogue says.

A package goes the way of a push, with the same checks, into the namespace that nobody can name. Each is a transaction
of its own: one that is damaged leaves no trace and stops no other, and a second run does what the first one left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.contract.errors import BadParameter, NameTaken, PalomarError
from palomar.contract.names import ResourceName, Tag
from palomar.server.artifacts.legacy_import import (
    CATALOGUE,
    ExecutorEntry,
    ImportResult,
    LegacyFolder,
    Outcome,
    owner_id_of,
)
from palomar.server.blobs.staging import BlobName, Staging
from palomar.server.db.upsert import insert_missing
from palomar.server.events.kinds import EventKind
from palomar.server.executors.find import SHORT_ID, hash_secret
from palomar.server.executors.models import Executor
from palomar.server.executors.push import ExecutorPusher, PackageSpool
from palomar.server.executors.release import Committed, add_release
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.executors.tags import WantedTags
from palomar.server.executors.target import executor_row
from palomar.server.executors.values import Draft, ExecutorPush
from palomar.server.namespaces.models import LEGACY_NAMESPACE, NamespaceRow
from palomar.server.namespaces.service import legacy_namespace

_BLOCK_BYTES = 1024 * 1024


async def import_executors(pusher: ExecutorPusher, folder: LegacyFolder) -> AsyncIterator[ImportResult]:
    """One result per file, as soon as it is durable."""
    for path in folder.executors:
        yield await _import_file(pusher, path, folder.catalogue.executors.get(path.stem, ExecutorEntry()))


async def _import_file(pusher: ExecutorPusher, path: Path, entry: ExecutorEntry) -> ImportResult:
    try:
        is_new = await _import_executor(pusher, path, ResourceName.parse(path.stem), entry)
    except PalomarError as error:
        return ImportResult(path.stem, Outcome.FAILED, error.detail)
    except OSError as error:
        return ImportResult(path.stem, Outcome.FAILED, f"the file cannot be read ({error.strerror})")
    return ImportResult(path.stem, Outcome.IMPORTED if is_new else Outcome.PRESENT)


async def _import_executor(pusher: ExecutorPusher, path: Path, name: ResourceName, entry: ExecutorEntry) -> bool:
    """False for what was there already."""
    async with pusher.database.read() as session:
        if await _is_there(session, name):
            return False
        row = await _legacy_values(session, name, entry)
    push = ExecutorPush(name=name, is_public=entry.public, tags=_tags(entry))
    async with pusher.spool() as spool:
        await _copy(path, spool)
        draft = Draft.of(push, await pusher.read(spool, push))

        async def commit(session: AsyncSession, staging: Staging, package: BlobName) -> Committed:
            found = await _new_executor(session, name, entry, row)
            kind = EventKind.EXECUTOR_IMPORTED
            return await add_release(session, staging, found, draft, package, pushed_by=None, kind=kind)

        try:
            await pusher.store_with(spool, commit)
        except _AlreadyThereError:
            return False
    return True


class _AlreadyThereError(Exception):
    """Another import of the same folder was faster."""


async def _is_there(session: AsyncSession, name: ResourceName) -> bool:
    """Raises NameTaken by one that is spelt differently: it would never be imported, and must not pass for this."""
    query = select(Executor.name).join(NamespaceRow, NamespaceRow.id == Executor.namespace_id)
    query = query.where(NamespaceRow.name == LEGACY_NAMESPACE, Executor.name_key == name.key)
    present = await session.scalar(query)
    if present is not None and present != name:
        raise NameTaken(KIND, present)
    return present is not None


async def _legacy_values(session: AsyncSession, name: ResourceName, entry: ExecutorEntry) -> dict[str, str | None]:
    """The columns that only old Executors have. Raises BadParameter and NotFound (the owner)."""
    if entry.id is not None:
        await _check_id(session, name, entry.id)
    if entry.secret == "":
        raise _mistake(name, "secret", "it is empty; leave it out where there is none")
    secret_hash = None if entry.secret is None else hash_secret(entry.secret)
    return {"secret_hash": secret_hash, "owner_id": await owner_id_of(session, entry)}


async def _check_id(session: AsyncSession, name: ResourceName, short_id: str) -> None:
    if not SHORT_ID.fullmatch(short_id):
        raise _mistake(name, "id", f"{short_id!a} is not eight lower-case letters and digits")
    if await session.scalar(select(Executor.id).where(Executor.short_id == short_id)) is not None:
        raise _mistake(name, "id", f"{short_id!a} is another Executor's")


def _mistake(name: ResourceName, field: str, reason: str) -> BadParameter:
    return BadParameter(f"{CATALOGUE}, executors.{name}.{field}", reason)


def _tags(entry: ExecutorEntry) -> WantedTags:
    return WantedTags(tuple(map(Tag.parse, entry.tags)))


async def _new_executor(
    session: AsyncSession, name: ResourceName, entry: ExecutorEntry, values: dict[str, str | None]
) -> FoundExecutor:
    """Its row, made by this transaction and nobody else's. Raises _AlreadyThereError, and BadParameter for its id."""
    namespace = await legacy_namespace(session)
    visibility = Visibility.PUBLIC if entry.public else Visibility.PRIVATE
    row = executor_row(namespace, name, visibility, short_id=entry.id)
    await insert_missing(session, Executor, [row])
    named = (Executor.namespace_id == namespace.id, Executor.name_key == name.key)
    executor = await session.scalar(select(Executor).where(*named).with_for_update())
    if executor is None:
        raise _mistake(name, "id", "it is another Executor's")
    if executor.releases:
        raise _AlreadyThereError
    await session.execute(update(Executor).where(Executor.id == executor.id).values(**values))
    return FoundExecutor(executor, namespace)


async def _copy(path: Path, spool: PackageSpool) -> None:
    """What is read and what is stored must be the same bytes, whatever happens to the file meanwhile."""
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            await spool.write(block)
    finally:
        file.close()
