"""Importing what was pushed before namespaces existed: the folder, ``legacy.json`` which says whose it is, the arrays.

An array goes the way of a push, with the same checks and in the same bounded memory, into the namespace that nobody
can name. Each is a transaction of its own: one that is damaged leaves no trace and stops no other, and a second run
does what the first one left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter, NotFound, PalomarError
from palomar.contract.names import BareName, LegacyName
from palomar.server.access.policy import ANONYMOUS
from palomar.server.accounts.service import find_account
from palomar.server.artifacts.commit import Committed, add_version
from palomar.server.artifacts.find import legacy_by_name
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact
from palomar.server.artifacts.push import Pusher
from palomar.server.artifacts.target import PushTarget, artifact_row
from palomar.server.artifacts.values import Content, PushRequest
from palomar.server.blobs.staging import Staging
from palomar.server.db.upsert import insert_missing
from palomar.server.events.kinds import EventKind
from palomar.server.namespaces.service import legacy_namespace

CATALOGUE = "legacy.json"
_ARRAY_SUFFIX, _EXECUTOR_SUFFIX = ".da", ".zip"
_BLOCK_BYTES = 1024 * 1024


class _Entry(BaseModel):
    """Strict, because a misspelt ``public`` would publish what was private."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ArrayEntry(_Entry):
    public: bool = True
    owner: str | None = None


class ExecutorEntry(_Entry):
    id: str | None = None
    secret: Annotated[str | None, Field(repr=False)] = None
    tags: list[str] = ["latest"]
    public: bool = True
    owner: str | None = None


class Catalogue(_Entry):
    """``legacy.json``; what it does not mention has the defaults."""

    arrays: dict[str, ArrayEntry] = {}
    executors: dict[str, ExecutorEntry] = {}

    @classmethod
    def read(cls, folder: Path) -> Catalogue:
        """Raises BadParameter: nothing is imported as long as it is not known what is private."""
        try:
            return cls.model_validate_json((folder / CATALOGUE).read_bytes())
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise BadParameter(CATALOGUE, f"it cannot be read ({error.strerror})") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BadParameter(CATALOGUE, f"{where}: {first['msg']}" if where else first["msg"]) from None


@dataclass(frozen=True, slots=True)
class LegacyFolder:
    """What there is to import, in order of names."""

    catalogue: Catalogue
    arrays: tuple[Path, ...]
    executors: tuple[Path, ...]
    ignored: tuple[Path, ...]

    @classmethod
    def read(cls, folder: Path) -> LegacyFolder:
        """Raises BadParameter for a catalogue that cannot be understood."""
        inside = [path for name in ("arrays", "executors") for path in _files(folder / name)]
        arrays = [path for path in inside if path.parent.name == "arrays" and path.suffix == _ARRAY_SUFFIX]
        executors = [path for path in inside if path.parent.name == "executors" and path.suffix == _EXECUTOR_SUFFIX]
        ignored = sorted(set(inside) - set(arrays) - set(executors))
        return cls(Catalogue.read(folder), tuple(arrays), tuple(executors), tuple(ignored))

    @property
    def absent(self) -> list[str]:
        """Arrays that the catalogue names and the folder does not have."""
        return sorted(self.catalogue.arrays.keys() - {path.stem for path in self.arrays})

    @property
    def absent_executors(self) -> list[str]:
        return sorted(self.catalogue.executors.keys() - {path.stem for path in self.executors})


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


class Outcome(StrEnum):
    IMPORTED = "imported"
    PRESENT = "already there"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of one file."""

    name: str
    outcome: Outcome
    reason: str = ""

    def __str__(self) -> str:
        name = self.name if self.name.isprintable() else ascii(self.name)
        return f"{name}: {self.outcome}" + (f": {self.reason}" if self.reason else "")


async def import_arrays(pusher: Pusher, folder: LegacyFolder) -> AsyncIterator[ImportResult]:
    """One result per file, as soon as it is durable."""
    for path in folder.arrays:
        yield await _import_file(pusher, path, folder.catalogue.arrays.get(path.stem, ArrayEntry()))


async def _import_file(pusher: Pusher, path: Path, entry: ArrayEntry) -> ImportResult:
    try:
        is_new = await _import_array(pusher, path, LegacyName.parse(path.stem), entry)
    except PalomarError as error:
        return ImportResult(path.stem, Outcome.FAILED, error.detail)
    except OSError as error:
        return ImportResult(path.stem, Outcome.FAILED, f"the file cannot be read ({error.strerror})")
    return ImportResult(path.stem, Outcome.IMPORTED if is_new else Outcome.PRESENT)


async def _import_array(pusher: Pusher, path: Path, name: LegacyName, entry: ArrayEntry) -> bool:
    """False for what was there already."""
    async with pusher.database.read() as session:
        if await legacy_by_name(session, BareName(name)) is not None:
            return False
        owner_id = await owner_id_of(session, entry)
    request = PushRequest(name=name, type=DOCUMENT_ARRAY, is_public=entry.public)
    async with pusher.begin(ANONYMOUS) as push:
        push.open_array()
        async with aclosing(_blocks(path)) as blocks:
            async for block in blocks:
                await push.write(block)
        content = await push.finish_file()
        try:
            await push.commit_with(lambda session: _commit(session, push.staging, name, request, content, owner_id))
        except _AlreadyThereError:
            return False
    return True


class _AlreadyThereError(Exception):
    """Another import of the same folder was faster."""


async def _commit(
    session: AsyncSession,
    staging: Staging,
    name: LegacyName,
    request: PushRequest,
    content: Content,
    owner_id: str | None,
) -> Committed:
    namespace = await legacy_namespace(session)
    row = artifact_row(namespace, request, name=name)
    await insert_missing(session, Artifact, [{**row, "owner_id": owner_id}])
    named = (Artifact.namespace_id == namespace.id, Artifact.name_key == name.key)
    artifact = (await session.scalars(select(Artifact).where(*named).with_for_update())).one()
    if artifact.version:
        raise _AlreadyThereError
    target = PushTarget(artifact, namespace, is_bare=True)
    kind = EventKind.ARTIFACT_IMPORTED
    return await add_version(session, staging, target, request, content, pushed_by=None, kind=kind)


async def owner_id_of(session: AsyncSession, entry: ArrayEntry | ExecutorEntry) -> str | None:
    """Raises NotFound: a private thing without its owner could not be read by anybody, or by everybody."""
    if entry.owner is None:
        return None
    account = await find_account(session, entry.owner)
    if account is None:
        raise NotFound("account", entry.owner)
    return account.id


async def _blocks(path: Path) -> AsyncGenerator[bytes, None]:
    file = await asyncio.to_thread(path.open, "rb")
    try:
        while block := await asyncio.to_thread(file.read, _BLOCK_BYTES):
            yield block
    finally:
        file.close()
