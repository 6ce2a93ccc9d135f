"""One chain of migrations, on either database: up, down, up again, and nothing that the models do not say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from palomar.server.db.engine import Database
from palomar.server.db.migrate import alembic_config, migrate
from palomar.server.db.schema import metadata
from tests.fixtures.databases import DATABASES, postgres_database


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    with postgres_database("migrations") as url:
        yield url


@pytest.fixture
def connection(empty_url: str) -> Iterator[Connection]:
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def alembic(connection: Connection, run: Callable[..., Any], *arguments: Any) -> None:
    config: Config = alembic_config(connection)
    run(config, *arguments)
    connection.commit()


def tables_of(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names()) - {"alembic_version"}


def test_head_has_the_tables_of_the_models(connection: Connection):
    alembic(connection, command.upgrade, "head")
    assert tables_of(connection) == set(metadata().tables)


def test_models_and_schema_agree(connection: Connection):
    """``alembic check`` raises when it would write another migration."""
    alembic(connection, command.upgrade, "head")
    alembic(connection, command.check)


def test_down_leaves_nothing_and_up_works_again(connection: Connection):
    alembic(connection, command.upgrade, "head")
    alembic(connection, command.downgrade, "base")
    assert tables_of(connection) == set()
    alembic(connection, command.upgrade, "head")
    alembic(connection, command.check)


def test_there_is_one_head(connection: Connection):
    assert len(ScriptDirectory.from_config(alembic_config(connection)).get_heads()) == 1


@pytest.mark.slow
async def test_replicas_may_migrate_at_once():
    """As they do when they start together; one does the work and the others find it done."""
    with postgres_database("replicas") as url:
        replicas = [Database(url) for _ in range(3)]
        try:
            done = await asyncio.gather(*map(migrate, replicas), return_exceptions=True)
            async with replicas[0].engine.connect() as connection:
                assert await connection.run_sync(tables_of) == set(metadata().tables)
        finally:
            for replica in replicas:
                await replica.close()
    assert done == [None, None, None]
