"""Everything that a hub keeps, seen from outside, so that a test can tell whether anything changed."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What every request may leave: who did what, who is busy, when a token was last used.
_UNTOLD_TABLES = frozenset({"events", "leases", "blob_leases", "alembic_version"})
_UNTOLD_COLUMNS = frozenset({"last_used_at", "touched_at"})
_GIVE_UP_S = 30


@dataclass(frozen=True, slots=True)
class State:
    rows: dict[str, list[tuple[Any, ...]]]
    files: dict[str, int]


def state_of(data: Path) -> State:
    with closing(sqlite3.connect(f"file:{data / 'palomar.sqlite'}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        told = sorted(set(tables) - _UNTOLD_TABLES)
        rows = {table: _rows(database, table) for table in told if not table.startswith("sqlite_")}
    return State(rows, files_of(data / "blobs"))


def _rows(database: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    names = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] not in _UNTOLD_COLUMNS]
    columns = ", ".join(f'"{name}"' for name in names)
    return sorted(database.execute(f"SELECT {columns} FROM {table}"), key=repr)  # noqa: S608  (names of a schema)


def files_of(folder: Path) -> dict[str, int]:
    """Every file below, temporary ones too."""
    found: dict[str, int] = {}
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                found[str(path.relative_to(folder))] = path.stat().st_size
        except FileNotFoundError:  # it was a temporary one
            continue
    return found


def wait_for_state(data: Path, expected: State) -> State:
    """What a cut connection left is cleared away by the hub in its own time; the last state seen if it is not."""
    give_up_at = time.monotonic() + _GIVE_UP_S
    while (state := state_of(data)) != expected and time.monotonic() < give_up_at:
        time.sleep(0.1)
    return state
