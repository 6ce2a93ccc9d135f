"""Finding versions of an artifact."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import NotFound
from palomar.server.artifacts.models import Artifact, Version


async def current_version(session: AsyncSession, artifact: Artifact) -> Version | None:
    """The newest one; None for a name whose first push did not complete."""
    return await _numbered(session, artifact, artifact.version)


async def numbered_version(session: AsyncSession, artifact: Artifact, number: int, *, asked_name: str) -> Version:
    """Raises NotFound for a number that was never given, and for content that was given up."""
    version = await _numbered(session, artifact, number)
    if version is None:
        raise NotFound("version", f"{asked_name}@v{number}")
    return version


async def list_versions(session: AsyncSession, artifact: Artifact) -> Sequence[Version]:
    """Newest first, without those whose content was given up."""
    query = select(Version).where(Version.artifact_id == artifact.id, Version.purged_at.is_(None))
    return (await session.scalars(query.order_by(Version.number.desc()))).all()


async def _numbered(session: AsyncSession, artifact: Artifact, number: int) -> Version | None:
    query = select(Version).where(Version.artifact_id == artifact.id, Version.number == number)
    found: Version | None = await session.scalar(query.where(Version.purged_at.is_(None)))
    return found
