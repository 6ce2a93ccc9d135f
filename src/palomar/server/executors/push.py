"""Pushing an Executor: the package is read and checked as a whole before anything of it is stored."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import BadParameter, DigestMismatch, NotFound, TooLarge
from palomar.contract.names import Namespace, ResourceName, ResourcePath
from palomar.packages.compatibility import Change
from palomar.packages.limits import PackageLimits
from palomar.packages.package import Package, read_package
from palomar.server.access.policy import Subject
from palomar.server.access.pushing import require_push
from palomar.server.blobs.leases import hold_lease
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.staging import AdoptedBlob, BlobName, Staging
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.executors.facts import to_facts
from palomar.server.executors.guard import check_contract
from palomar.server.executors.models import Executor, Release
from palomar.server.executors.resource import KIND, FoundExecutor
from palomar.server.executors.tags import check_tags, move_tags
from palomar.server.executors.values import ExecutorPush, ExecutorReceipt
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace

_BLOCK_BYTES = 1024 * 1024
# Without 0, 1, i, l and o: these ids are read aloud and typed.
_SHORT_ID_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True, slots=True)
class ExecutorRules:
    max_package_bytes: int
    limits: PackageLimits


class PackageSpool:
    """A package on its way in. A zip says at its end what it holds, so it must lie somewhere before it can be read."""

    def __init__(self, file: BinaryIO, max_bytes: int) -> None:
        self.file = file
        self._max_bytes = max_bytes
        self.written_bytes = 0

    async def write(self, data: bytes) -> None:
        self.written_bytes += len(data)
        if self.written_bytes > self._max_bytes:
            raise TooLarge("The package", self._max_bytes)
        await asyncio.to_thread(self.file.write, data)


@dataclass(frozen=True, slots=True)
class ExecutorPusher:
    """Takes packages in; one per hub."""

    database: Database
    store: BlobStore
    rules: ExecutorRules
    scratch: Path

    @asynccontextmanager
    async def spool(self) -> AsyncIterator[PackageSpool]:
        """A nameless file, gone with the process."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.scratch) as file:
            yield PackageSpool(cast("BinaryIO", file), self.rules.max_package_bytes)

    async def read(self, spool: PackageSpool, push: ExecutorPush) -> Package:
        """Raises BadPackage, and DigestMismatch when the bytes are not those that the client meant."""
        limits = self.rules.limits
        package = await asyncio.to_thread(read_package, spool.file, limits, dockerfile=push.dockerfile)
        if push.md5 is not None and push.md5.lower() != package.md5:
            raise DigestMismatch(push.md5, package.md5)
        return package

    async def store_release(
        self, subject: Subject, push: ExecutorPush, package: Package, spool: PackageSpool
    ) -> ExecutorReceipt:
        """Durable when it returns; whatever goes wrong before leaves the hub as it was."""
        async with hold_lease(self.database) as lease:
            staging = Staging(self.database, self.store, lease=lease)
            try:
                name = await _stage(staging, spool)
                async with self.database.write() as session:
                    receipt, adopted = await _commit(session, staging, subject, push, package, name)
                    staging.hand_over(adopted)
                return receipt
            finally:
                await asyncio.shield(staging.discard())


async def _stage(staging: Staging, spool: PackageSpool) -> BlobName:
    await asyncio.to_thread(spool.file.seek, 0)
    async with staging.stream() as stream:
        while block := await asyncio.to_thread(spool.file.read, _BLOCK_BYTES):
            await stream.write(block)
        return await stream.close_opaque()


async def _commit(
    session: AsyncSession,
    staging: Staging,
    subject: Subject,
    push: ExecutorPush,
    package: Package,
    name: BlobName,
) -> tuple[ExecutorReceipt, dict[BlobName, AdoptedBlob]]:
    found = await _find_target(session, subject, push, package)
    executor = found.executor
    await check_tags(session, executor, push.tags.names, shown_name=found.shown_name)
    changes = await check_contract(session, found, push.tags, package.schema)
    adopted = await staging.adopt(session)
    release = _add_release(executor, push, package, adopted[name].id, subject)
    session.add(release)
    await session.flush()
    await move_tags(session, release, push.tags)
    _update_executor(found, push, package, release)
    record(
        session,
        EventKind.EXECUTOR_PUSHED,
        account_id=subject.account_id,
        namespace_id=found.namespace.id,
        subject_id=executor.id,
        release=release.number,
        digest=release.digest,
        tags=list(push.tags.names),
    )
    await session.flush()
    return _receipt(found, release, push, package, changes), adopted


async def _find_target(session: AsyncSession, subject: Subject, push: ExecutorPush, package: Package) -> FoundExecutor:
    """The Executor's row, locked until the transaction ends, so release numbers and tags never collide."""
    path = push_path(subject, push.name or package.config.name)
    namespace = require_push(subject, Action.EXECUTOR_PUSH, path, await find_namespace(session, path.namespace))
    if not push.must_exist:
        await insert_missing(session, Executor, [_new_row(namespace, path.name, push)])
    named = select(Executor).where(Executor.namespace_id == namespace.id, Executor.name_key == path.name.key)
    executor = await session.scalar(named.with_for_update())
    if executor is None or (push.must_exist and executor.deleted_at is not None):
        raise NotFound(KIND, str(path))
    return FoundExecutor(executor, namespace)


def push_path(subject: Subject, name: str | None) -> ResourcePath:
    """Without a namespace the name means the pusher's own: jina hub push has no way to say one."""
    if not name:
        raise BadParameter("name", "the package names no Executor; set metas.name in config.yml")
    if "/" in name:
        return ResourcePath.parse(name)
    return ResourcePath(Namespace.parse(subject.account_name or ""), ResourceName.parse(name))


def _new_row(namespace: NamespaceRow, name: ResourceName, push: ExecutorPush) -> dict[str, object]:
    now = utc_now()
    return {
        "id": new_id(),
        "short_id": "".join(secrets.choice(_SHORT_ID_LETTERS) for _ in range(8)),
        "namespace_id": namespace.id,
        "name": str(name),
        "name_key": name.key,
        "visibility": _visibility(push, default=Visibility(namespace.default_visibility)),
        "description": "",
        "keywords": [],
        "url": "",
        "releases": 0,
        "created_at": now,
        "updated_at": now,
    }


def _visibility(push: ExecutorPush, *, default: Visibility) -> Visibility:
    if push.is_public is None:
        return default
    return Visibility.PUBLIC if push.is_public else Visibility.PRIVATE


def _add_release(
    executor: Executor, push: ExecutorPush, package: Package, package_id: int, subject: Subject
) -> Release:
    return Release(
        id=new_id(),
        executor_id=executor.id,
        number=executor.releases + 1,
        package_id=package_id,
        package_bytes=package.size,
        md5=package.md5,
        digest=package.sha256,
        facts=to_facts(package),
        build_env_names=sorted(push.build_env),
        platform=push.platform,
        pushed_by=subject.account_id,
        created_at=utc_now(),
    )


def _update_executor(found: FoundExecutor, push: ExecutorPush, package: Package, release: Release) -> None:
    executor = found.executor
    executor.releases = release.number
    executor.description = (package.config.description or "")[:2000]
    executor.keywords = list(package.config.keywords)
    executor.url = (package.config.url or "")[:2000]
    executor.updated_at = release.created_at
    if executor.deleted_at is not None:
        # A revived name begins as a new one would, but goes on counting its releases.
        executor.deleted_at = None
        executor.created_at = release.created_at
        executor.visibility = Visibility(found.namespace.default_visibility)
    executor.visibility = _visibility(push, default=Visibility(executor.visibility))


def _receipt(
    found: FoundExecutor, release: Release, push: ExecutorPush, package: Package, changes: tuple[Change, ...]
) -> ExecutorReceipt:
    return ExecutorReceipt(
        executor_id=found.executor.id,
        short_id=found.executor.short_id,
        namespace=found.namespace.name,
        name=found.executor.name,
        release_id=release.id,
        release=release.number,
        digest=release.digest,
        md5=release.md5,
        package_bytes=release.package_bytes,
        tags=push.tags.names,
        visibility=found.visibility,
        durable_at=release.created_at,
        warnings=package.warnings,
        changes=changes,
    )
