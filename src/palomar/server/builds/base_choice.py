"""What new images stand on: the default base image."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.builds.bases.models import BaseImageRow
from palomar.server.builds.bases.values import Base
from palomar.server.builds.values import BaseChoice


async def default_base(session: AsyncSession) -> BaseChoice | None:
    """None before the operator has added one."""
    row: BaseImageRow | None = await session.scalar(select(BaseImageRow).where(BaseImageRow.is_default.is_(True)))
    if row is None:
        return None
    return BaseChoice(row.digest, tuple(str(found.platform) for found in Base.of_row(row).platforms))
