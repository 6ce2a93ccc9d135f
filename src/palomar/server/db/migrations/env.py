"""Alembic's entry: one chain of migrations for SQLite and PostgreSQL."""

from __future__ import annotations

import os
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import JSON, Connection, create_engine

from palomar.server.db.columns import UtcDateTime
from palomar.server.db.schema import metadata


def _render_item(kind: str, value: Any, context_: AutogenContext) -> str | Literal[False]:
    """Writes our column types by their names, so that a migration reads as the models do."""
    if kind != "type" or not isinstance(value, (UtcDateTime, JSON)):
        return False
    name = "UtcDateTime" if isinstance(value, UtcDateTime) else "JsonColumn"
    context_.imports.add(f"from palomar.server.db.columns import {name}")
    return "UtcDateTime()" if name == "UtcDateTime" else name


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata(),
        render_as_batch=True,  # SQLite cannot alter a table: Alembic copies it
        render_item=_render_item,
        transaction_per_migration=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    with create_engine(os.environ.get("PALOMAR_DATABASE_URL", "sqlite:///:memory:")).connect() as own:
        _run(own)
