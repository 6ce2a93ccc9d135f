"""What the registry needs for the life of the process, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from palomar.server.blobs.port import BlobStore
from palomar.server.db.engine import Database
from palomar.server.registry.rules import RegistryRules
from palomar.server.registry.shared_lease import SharedLease
from palomar.server.registry.uploads import Uploads
from palomar.server.registry.writer import ImageWriter


@dataclass(frozen=True, slots=True)
class Registry:
    rules: RegistryRules
    uploads: Uploads
    writer: ImageWriter

    @classmethod
    def assemble(cls, database: Database, store: BlobStore, rules: RegistryRules) -> Self:
        uploads = Uploads(database, store, rules, SharedLease(database))
        return cls(rules, uploads, ImageWriter(database, store, rules))

    async def close(self) -> None:
        """Before the database closes."""
        await self.uploads.leases.close()
