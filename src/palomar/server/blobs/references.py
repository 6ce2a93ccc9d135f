"""Which blobs are in use: whatever table has a foreign key to ``blobs.id`` says so, and nobody has to be told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, MetaData, Select, and_, exists, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now


def referencing_columns(metadata: MetaData) -> Iterator[Column[Any]]:
    """The columns whose values keep blobs from collection, of every domain there is."""
    blob_id = BlobRow.__table__.c.id
    for table in metadata.sorted_tables:
        for column in table.columns:
            if any(key.column is blob_id for key in column.foreign_keys):
                yield column


def unreferenced(metadata: MetaData) -> ColumnElement[bool]:
    """That no row of any table references the blob."""
    columns = tuple(referencing_columns(metadata))
    if not columns:
        # Collecting everything would be the worst of mistakes; models that were not imported look like this.
        raise LookupError("no table references blobs: the models of the domains are not loaded")
    return and_(*(~exists().where(column == BlobRow.id) for column in columns))


async def give_grace(session: AsyncSession, blob_ids: Select[Any]) -> None:
    """What is let go of in this transaction has its grace period from now on."""
    await session.execute(update(BlobRow).where(BlobRow.id.in_(blob_ids)).values(touched_at=utc_now()))
