"""What images take of a namespace's quota."""

from __future__ import annotations

from sqlalchemy import Select, false, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.quota import check_quota, counts_as_used, used_bytes
from palomar.server.registry.models import ImageManifest, ImageUpload, Repository, RepositoryBlob


@counts_as_used
def _blob_bytes(namespace_id: str) -> Select[int]:
    """Each content once, however many repositories have it and under how many names; the operator's bases not."""
    sizes = (
        select(func.max(RepositoryBlob.size_bytes).label("size"))
        .join(Repository, Repository.id == RepositoryBlob.repository_id)
        .where(Repository.namespace_id == namespace_id, RepositoryBlob.is_base == false())
        .group_by(RepositoryBlob.blob_id)
    )
    return select(func.coalesce(func.sum(sizes.subquery().c.size), 0))


@counts_as_used
def _manifest_bytes(namespace_id: str) -> Select[int]:
    total = select(func.coalesce(func.sum(ImageManifest.size_bytes), 0))
    joined = total.join(Repository, Repository.id == ImageManifest.repository_id)
    return joined.where(Repository.namespace_id == namespace_id)


@counts_as_used
def _unfinished_bytes(namespace_id: str) -> Select[int]:
    """An upload takes room from its first byte on, or a full namespace could fill the disk with unfinished ones."""
    total = select(func.coalesce(func.sum(ImageUpload.received_bytes), 0))
    joined = total.join(Repository, Repository.id == ImageUpload.repository_id)
    return joined.where(Repository.namespace_id == namespace_id)


async def check_room(session: AsyncSession, namespace_id: str) -> None:
    """After the rows of a push are written, and before they are committed. Raises QuotaExceeded."""
    namespace = await session.get_one(NamespaceRow, namespace_id)
    if namespace.quota_bytes is not None:
        await session.flush()
        await check_quota(session, namespace, 0)


async def room_left(session: AsyncSession, namespace_id: str) -> tuple[str, int | None, int | None]:
    """The namespace's name, its quota and what is left of it; without a quota there is no end to it."""
    namespace = await session.get_one(NamespaceRow, namespace_id)
    if namespace.quota_bytes is None:
        return namespace.name, None, None
    return namespace.name, namespace.quota_bytes, namespace.quota_bytes - await used_bytes(session, namespace)
