"""A collection of very many small blobs against removing as many files."""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from benchmarks.clock import seconds_of
from benchmarks.rows import Bar, Benchmark, Context, Quantity, Row
from palomar.server.blobs import layout
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.local import LocalBlobStore
from palomar.server.db.engine import Database
from palomar.server.db.migrate import migrate

_BYTES = 1024
_BAR = Bar(300, "figure", "at most", "s")
_ROW = f"""
INSERT INTO blobs (kind, digest, key, encoding, stored_bytes, stored_digest, raw_bytes, documents, members_bytes,
                   created_at, touched_at)
VALUES ('chunk', ?, ?, 'identity', {_BYTES}, ?, {_BYTES}, 1, 0, '2025-01-01 00:00:00.000000',
        '2025-01-01 00:00:00.000000')
"""  # noqa: S608 -- a constant of this file


def measure(context: Context) -> Iterator[Row]:
    count = context.sized(full=250_000, small=5_000)
    keys = [layout.new_key() for _ in range(count)]
    context.say(f"making {count:,} blobs, and as many files")
    _make_files(context.folder / "blobs" / layout.OBJECTS, keys)
    _make_files(context.folder / "files", keys)
    asyncio.run(_make_rows(context.folder / "palomar.sqlite", keys))
    # What was written is on the disk before the watch starts; who deletes first would have to wait for it.
    os.sync()
    context.say("collecting")
    seconds = seconds_of(lambda: asyncio.run(_collect(context.folder, count)))
    os.sync()
    find = seconds_of(lambda: _remove_files(context.folder / "files"))
    what = f"collection of {count:,} unreferenced blobs of {_BYTES} bytes"
    yield Row(what, Quantity(seconds, "s"), Quantity(find, "s", "find -delete of as many files"), _BAR)
    yield Row(what, Quantity(count / seconds, "blobs/s"), Quantity(count / find, "files/s", "find -delete"))


def _make_files(objects: Path, keys: Sequence[str]) -> None:
    data = bytes(_BYTES)
    for folder in {objects.joinpath(*layout.folder_of(key)) for key in keys}:
        folder.mkdir(parents=True)
    for key in keys:
        objects.joinpath(layout.object_path(key)).write_bytes(data)


async def _make_rows(path: Path, keys: Sequence[str]) -> None:
    database = Database(f"sqlite:///{path}")
    await migrate(database)
    await database.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(_ROW, ((secrets.token_hex(32), key, secrets.token_hex(32)) for key in keys))


async def _collect(folder: Path, count: int) -> None:
    database = Database(f"sqlite:///{folder / 'palomar.sqlite'}")
    store = LocalBlobStore(folder / "blobs")
    try:
        collected = await Collector(database, store, grace=timedelta(0)).run()
    finally:
        await store.close()
        await database.close()
    if (collected.blobs, collected.failed) != (count, 0):
        raise RuntimeError(f"not everything went: {collected}")


def _remove_files(folder: Path) -> None:
    subprocess.run(["find", folder, "-type", "f", "-delete"], check=True)


BENCHMARK = Benchmark("collect", "collection of very many small blobs against find -delete of as many files", measure)
