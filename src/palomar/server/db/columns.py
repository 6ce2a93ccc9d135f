"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time; SQLite, which keeps no zone, stores it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone: use palomar.server.db.columns.utc_now")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """On SQLite in one step from the text: a page of a list has a hundred of them."""
        return _from_sqlite if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _from_sqlite(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored).replace(tzinfo=UTC)


def utc_now() -> datetime:
    return datetime.now(UTC)


def can_be_stored(text: str) -> bool:
    """Whether a query may carry it: PostgreSQL takes no NUL, and neither database half a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def new_id() -> str:
    """A row's key: 32 hexadecimal digits, not guessable, free of dots (a client parses dotted tokens as JWTs)."""
    return uuid4().hex


# JSONB can be filtered and indexed on PostgreSQL; SQLite has JSON functions over text.
JsonColumn = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# SQLite numbers rows by itself only in an INTEGER primary key.
BigKey = BigInteger().with_variant(Integer, "sqlite")

Id = Annotated[str, mapped_column(String(32), primary_key=True, default=new_id)]
NumericId = Annotated[int, mapped_column(BigKey, primary_key=True, autoincrement=True)]
Moment = Annotated[datetime, mapped_column(UtcDateTime)]
Created = Annotated[datetime, mapped_column(UtcDateTime, default=utc_now)]
Json = Annotated[Any, mapped_column(JsonColumn)]
