"""``palomar admin collect``: the result on stdout, how far it is on stderr."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import select

from palomar.cli.app import run
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.open import open_store
from palomar.server.blobs.port import BlobStore
from palomar.server.db.engine import Database
from palomar.server.db.migrate import migrate
from tests.factories.blobs import make_blob, stored_keys

T = TypeVar("T")
GONE = "2 blobs (0.0 MiB) that nothing referenced and 1 blob (0.0 MiB) without a row are gone, in "


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With two blobs that nothing references, and bytes that have no row."""
    monkeypatch.setenv("PALOMAR_COLLECT_GRACE_S", "0")
    (tmp_path / "data").mkdir()

    async def fill(database: Database, store: BlobStore) -> None:
        await migrate(database)
        await make_blob(database, store, b"one")
        await make_blob(database, store, b"two")
        await store.put(new_key(), b"nobody's")

    on_hub(tmp_path / "data", fill)
    return tmp_path / "data"


def on_hub(data: Path, use: Callable[[Database, BlobStore], Awaitable[T]]) -> T:
    async def run_it() -> T:
        database, store = Database(f"sqlite:///{data / 'palomar.sqlite'}"), open_store(None, data_dir=data)
        try:
            return await use(database, store)
        finally:
            await store.close()
            await database.close()

    return asyncio.run(run_it())


def left(data: Path) -> tuple[int, int]:
    """Rows, and stored blobs."""

    async def count(database: Database, store: BlobStore) -> tuple[int, int]:
        async with database.read() as session:
            rows = (await session.scalars(select(BlobRow.id))).all()
        return len(rows), len(await stored_keys(store))

    return on_hub(data, count)


def test_a_dry_run_says_what_would_go_and_removes_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "collect", "--dry-run", "--data", str(data)]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "2 blobs (0.0 MiB) that nothing references and 1 blob (0.0 MiB) without a row would go, in about 1 s\n"
    )
    assert printed.err == ""
    assert left(data) == (2, 3)


def test_a_collection_says_before_and_after_what_goes(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["admin", "collect", "--data", str(data)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(GONE)
    assert printed.err == "0 of 2 blobs (0.0 MiB) are gone, about 1 s left\n"
    assert left(data) == (0, 0)


def test_the_grace_period_holds_here_too(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALOMAR_COLLECT_GRACE_S", "3600")
    assert run(["admin", "collect", "--data", str(data)]) == 0
    assert capsys.readouterr().out.startswith("0 blobs")
    assert left(data) == (2, 3)
