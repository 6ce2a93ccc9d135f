"""Adding base images, and what else an operator does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Event

from sqlalchemy import delete, exists, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.contract.errors import Busy, NotFound
from palomar.server.builds.bases.finding import find_row, parse_name
from palomar.server.builds.bases.models import BASES_NAMESPACE, BaseImageRow
from palomar.server.builds.bases.preparing import Prepared, prepare
from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.bases.sources.images import Source, SourceImage, refused
from palomar.server.builds.bases.values import Base, base_facts
from palomar.server.builds.image_config import Platform
from palomar.server.db.columns import new_id, utc_now
from palomar.server.db.engine import Database
from palomar.server.db.upsert import insert_missing
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.registry.deleting import forget_manifests
from palomar.server.registry.models import ImageManifest
from palomar.server.registry.writer import ImageWriter


class Outcome(StrEnum):
    ADDED = "added"
    REPLACED = "replaced"
    UNCHANGED = "is there already"


@dataclass(frozen=True, slots=True)
class AddedBase:
    base: Base
    outcome: Outcome


async def add_base(
    writer: ImageWriter,
    source: Source,
    scratch: Path,
    *,
    name: str | None = None,
    is_default: bool = False,
    platforms: Sequence[Platform] = (),
) -> AddedBase:
    """Copies a base image into the hub, whole, before its name means it.

    The first one is the default. One that has the name already is replaced; images that stand on it keep its layers.
    ``scratch`` is an empty folder of the caller's. Raises BadParameter, StorageFull, TooLarge and Busy.
    """
    reference = _name_of(source, name)
    images = await asyncio.to_thread(source.images, [platform.normal for platform in platforms])
    async with writer.database.read() as session:
        known = await find_row(session, reference.name)
    if known is not None and _is_known(Base.of_row(known), images):
        return AddedBase(await _kept(writer.database, known, is_default=is_default), Outcome.UNCHANGED)
    prepared = await _prepared(images, scratch)
    if known is not None and known.digest == prepared.root.digest:
        digests = prepared.source_digests
        return AddedBase(await _kept(writer.database, known, digests, is_default=is_default), Outcome.UNCHANGED)
    repository_id = known.repository_id if known else await _new_repository(writer)
    await _store(writer, repository_id, prepared)
    base = await _committed(writer.database, reference.name, repository_id, prepared, is_default=is_default)
    return AddedBase(base, Outcome.REPLACED if known else Outcome.ADDED)


def _name_of(source: Source, name: str | None) -> Reference:
    if name is not None:
        return parse_name(name)
    if source.name is None:
        raise refused("it does not say what the image is called: give it a name with --name")
    return source.name.without_digest


async def _prepared(images: Sequence[SourceImage], scratch: Path) -> Prepared:
    """A thread cannot be cancelled, and the process would wait for its end."""
    stop = Event()
    try:
        return await asyncio.to_thread(prepare, images, scratch, stop)
    finally:
        stop.set()


def _is_known(base: Base, images: Sequence[SourceImage]) -> bool:
    """By the digests of manifests or configs, which name everything below them: then nothing has to be fetched."""
    has_digests = all(image.digests and all(map(base.has_digest, image.digests)) for image in images)
    return has_digests and {image.platform for image in images} == {found.platform for found in base.platforms}


async def _new_repository(writer: ImageWriter) -> str:
    """One for each base. Private, so that nobody's list shows it."""
    async with writer.database.write() as session:
        row = {
            "id": new_id(),
            "name": BASES_NAMESPACE,
            "default_visibility": Visibility.PRIVATE,
            "visibility_ceiling": Visibility.PRIVATE,
            "created_at": utc_now(),
        }
        await insert_missing(session, NamespaceRow, [row])
        named = select(NamespaceRow.id).where(NamespaceRow.name == BASES_NAMESPACE)
        namespace_id = (await session.scalars(named)).one()
        return await writer.ensure_repository(session, namespace_id=namespace_id, path=new_id())


async def _store(writer: ImageWriter, repository_id: str, prepared: Prepared) -> None:
    """Layers, then what names them."""
    for digest, path in prepared.files.items():
        stored = await writer.add_blob(repository_id, path)
        if stored.digest != digest:
            raise refused("a layer changed while it was copied")
    configs = {platform.config.digest for platform in prepared.platforms}
    for document in (*prepared.documents, prepared.root):
        if document.digest in configs:
            await writer.add_blob(repository_id, document.content)
        else:
            await writer.put_manifest(repository_id, document.content, document.media_type)


async def _kept(
    database: Database, row: BaseImageRow, digests: frozenset[str] = frozenset(), *, is_default: bool
) -> Base:
    """The same image; ``digests`` are those by which one more source knows it."""
    base = Base.of_row(row)
    facts = base_facts(base.platforms, base.source_digests | digests)
    async with database.write() as session:
        await session.execute(update(BaseImageRow).where(BaseImageRow.id == row.id).values(facts=facts))
        if is_default:
            await _make_default(session, row.id)
        return Base.of_row(await session.get_one(BaseImageRow, row.id))


async def _committed(
    database: Database, name: str, repository_id: str, prepared: Prepared, *, is_default: bool
) -> Base:
    values = {
        "repository_id": repository_id,
        "digest": prepared.root.digest,
        "python": prepared.platforms[0].version,
        "libc": prepared.platforms[0].libc,
        "facts": base_facts(prepared.platforms, prepared.source_digests),
        "created_at": utc_now(),
    }
    try:
        async with database.write() as session:
            is_first = not await session.scalar(select(exists().where(BaseImageRow.is_default)))
            await insert_missing(session, BaseImageRow, [{"id": new_id(), "name": name, "is_default": False, **values}])
            await session.execute(update(BaseImageRow).where(BaseImageRow.name == name).values(**values))
            row = (await session.scalars(select(BaseImageRow).where(BaseImageRow.name == name))).one()
            await _forget_others(session, repository_id, prepared)
            if is_default or is_first:
                await _make_default(session, row.id)
            await session.refresh(row)
            return Base.of_row(row)
    except IntegrityError as error:
        raise Busy("Somebody else changed the base images at the same moment") from error


async def _forget_others(session: AsyncSession, repository_id: str, prepared: Prepared) -> None:
    """What the name meant before; its layers go with the next purge but one, unless an image has them."""
    kept = [prepared.root.digest, *(platform.manifest.digest for platform in prepared.platforms)]
    others = ImageManifest.repository_id == repository_id, ImageManifest.digest.not_in(kept)
    ids = (await session.scalars(select(ImageManifest.id).where(*others))).all()
    await forget_manifests(session, list(ids))


# --- the default, and the end ------------------------------------------------------------------------------------


async def _make_default(session: AsyncSession, base_id: str) -> None:
    """In this order, since there is one at most at any moment."""
    await session.execute(update(BaseImageRow).where(BaseImageRow.id != base_id).values(is_default=False))
    await session.execute(update(BaseImageRow).where(BaseImageRow.id == base_id).values(is_default=True))


async def set_default(database: Database, name: str) -> Base:
    """Raises NotFound, BadParameter."""
    async with database.write() as session:
        row = await _row(session, name)
        await _make_default(session, row.id)
        await session.refresh(row)
        return Base.of_row(row)


async def remove_base(database: Database, name: str) -> Base:
    """Images that stand on it keep its layers; builds that are under way may fail. Raises NotFound, BadParameter."""
    async with database.write() as session:
        row = await _row(session, name)
        base = Base.of_row(row)
        await session.execute(delete(BaseImageRow).where(BaseImageRow.id == row.id))
        ids = select(ImageManifest.id).where(ImageManifest.repository_id == base.repository_id)
        await forget_manifests(session, list((await session.scalars(ids)).all()))
        return base


async def _row(session: AsyncSession, name: str) -> BaseImageRow:
    row = await find_row(session, parse_name(name).name)
    if row is None:
        raise NotFound("base image", name)
    return row
