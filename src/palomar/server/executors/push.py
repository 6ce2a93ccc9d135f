"""Pushing an Executor: the package is read and checked as a whole before anything of it is stored."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import DigestMismatch, TooLarge
from palomar.packages.limits import PackageLimits
from palomar.packages.package import Package, read_package
from palomar.server.access.policy import Subject
from palomar.server.blobs.leases import hold_lease
from palomar.server.blobs.port import BlobStore
from palomar.server.blobs.staging import BlobName, Staging
from palomar.server.db.engine import Database
from palomar.server.executors.release import Committed, add_release, check_release, check_room
from palomar.server.executors.target import find_target, peek_target
from palomar.server.executors.values import Draft, ExecutorPush, ExecutorReceipt

_BLOCK_BYTES = 1024 * 1024

Commit: TypeAlias = Callable[[AsyncSession, Staging, BlobName], Awaitable[Committed]]


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
        draft = Draft.of(push, package)

        async def commit(session: AsyncSession, staging: Staging, name: BlobName) -> Committed:
            found = await find_target(session, subject, push, package)
            return await add_release(session, staging, found, draft, name, pushed_by=subject.account_id)

        await self._refuse_early(subject, draft)
        return await self.store_with(spool, commit)

    async def store_with(self, spool: PackageSpool, commit: Commit) -> ExecutorReceipt:
        """Stages the package's bytes, then has them committed or throws them away."""
        async with hold_lease(self.database) as lease:
            staging = Staging(self.database, self.store, lease=lease)
            try:
                name = await _stage(staging, spool)
                async with self.database.write() as session:
                    receipt, adopted = await commit(session, staging, name)
                    staging.hand_over(adopted)
                return receipt
            finally:
                await asyncio.shield(staging.discard())

    async def _refuse_early(self, subject: Subject, draft: Draft) -> None:
        """What the commit would refuse is refused before bytes are stored; the commit asks again, under its lock."""
        async with self.database.read() as session:
            namespace, found = await peek_target(session, subject, draft.push, draft.package)
            if found is None:
                await check_room(session, namespace, draft)
            else:
                await check_release(session, found, draft)


async def _stage(staging: Staging, spool: PackageSpool) -> BlobName:
    await asyncio.to_thread(spool.file.seek, 0)
    async with staging.stream() as stream:
        while block := await asyncio.to_thread(spool.file.read, _BLOCK_BYTES):
            await stream.write(block)
        return await stream.close_opaque()
