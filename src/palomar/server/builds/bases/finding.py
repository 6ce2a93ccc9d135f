"""Which base a reference means, without asking anybody outside of the hub."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter
from palomar.server.builds.bases.models import BaseImageRow
from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.bases.values import Base


async def find_base(session: AsyncSession, reference: str) -> Base | None:
    """The base that an image reference means, as in a Dockerfile's FROM; None where none was added.

    ``python:3.11-slim`` and ``docker.io/library/python:3.11-slim`` are one name. With a digest, the base must have it,
    here or where it came from; without a tag beside the digest any base of that repository will do.
    """
    try:
        wanted = Reference.parse(reference)
    except ValueError:
        return None
    if wanted.digest is None:
        row = await find_row(session, wanted.name)
        return Base.of_row(row) if row else None
    for base in await list_bases(session):
        name = Reference.parse(base.name)
        is_same = (name.host, name.path) == (wanted.host, wanted.path) and wanted.tag in {None, name.tag}
        if is_same and base.has_digest(wanted.digest):
            return base
    return None


async def default_base(session: AsyncSession) -> Base | None:
    """None before the operator has added one: then nothing is built."""
    row: BaseImageRow | None = await session.scalar(select(BaseImageRow).where(BaseImageRow.is_default))
    return Base.of_row(row) if row else None


async def base_by_digest(session: AsyncSession, digest: str) -> Base | None:
    """The base that a build was ordered on; None if it was replaced or removed meanwhile."""
    row: BaseImageRow | None = await session.scalar(
        select(BaseImageRow).where(BaseImageRow.digest == digest).order_by(BaseImageRow.name).limit(1)
    )
    return Base.of_row(row) if row else None


async def list_bases(session: AsyncSession) -> Sequence[Base]:
    """In order of their names."""
    return [Base.of_row(row) for row in await session.scalars(select(BaseImageRow).order_by(BaseImageRow.name))]


async def find_row(session: AsyncSession, name: str) -> BaseImageRow | None:
    row: BaseImageRow | None = await session.scalar(select(BaseImageRow).where(BaseImageRow.name == name))
    return row


def parse_name(text: str) -> Reference:
    """Raises BadParameter."""
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise BadParameter("NAME", str(error)) from None
    if reference.digest is not None:
        raise BadParameter("NAME", "a base is called by a name and a tag; its digest is its own")
    return reference
