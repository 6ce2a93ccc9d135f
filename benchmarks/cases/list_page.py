"""One page of an account's list, among few artifacts and among a million."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from benchmarks.clock import alternating, seconds_of
from benchmarks.hub import Caller, Connection, temporary_hub
from benchmarks.rows import Bar, Benchmark, Context, Quantity, Row
from palomar.server.artifacts.models import DOCUMENT_ARRAY

_PAGE = 50
_ROUNDS = 200
_BAR = Bar(1.5, "ratio", "at most")
_SUMMARY = [{"name": "Type", "value": "DocumentArrayInMemory"}, {"name": "Length", "value": 100}]
# As docarray 0.17 to 0.21 sends it, in size too.
_METADATA = json.dumps({"summary": _SUMMARY, "branding": None, "version": {"docarray": "0.21.0", "filler": "x" * 300}})

_ARTIFACTS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)
INSERT INTO artifacts (id, namespace_id, name, name_key, is_bare, kind, visibility, metadata, version, documents,
                       raw_bytes, created_at, updated_at)
SELECT lower(hex(randomblob(16))), :namespace, printf('array-%07d', n), printf('array-%07d', n), 0, :kind, 'public',
       :metadata, 1, 100, 4096, datetime('2025-01-01', n || ' seconds') || '.000000',
       datetime('2025-01-01', n || ' seconds') || '.000000'
FROM numbers
"""
_COUNT = "INSERT INTO artifact_counts (namespace_id, kind, live) VALUES (:namespace, :kind, :count)"


def measure(context: Context) -> Iterator[Row]:
    many = context.sized(full=1_000_000, small=100_000)
    with temporary_hub(context.folder / "hub") as alice:
        few, page, full = (_owner_of(alice, f"owner-of-{count}", count) for count in (10, _PAGE, many))
        with closing(Connection(alice.live.url)) as connection:
            calls = [_page_of(connection, owner) for owner in (few, page, full)]
            ten, fifty, million = (seconds * 1000 for seconds in alternating(calls, rounds=_ROUNDS))
    what = f"page of {_PAGE} among {many:,} artifacts"
    yield Row(what, Quantity(million, "ms"), Quantity(ten, "ms", "among 10: a page of 10"), _BAR)
    yield Row(what, Quantity(million, "ms"), Quantity(fifty, "ms", f"among {_PAGE}: an equal page"), _BAR)


def _owner_of(alice: Caller, name: str, count: int) -> Caller:
    """An account with so many arrays, written into the database: the hub need not have pushed them to list them."""
    owner = replace(alice, namespace=name, token=alice.live.add_user(name))
    with closing(sqlite3.connect(alice.live.data / "palomar.sqlite", timeout=60)) as database, database:
        (namespace,) = database.execute("SELECT id FROM namespaces WHERE name = ?", (name,)).fetchone()
        values = {"namespace": namespace, "kind": DOCUMENT_ARRAY, "metadata": _METADATA, "count": count}
        database.execute(_ARTIFACTS, values)
        database.execute(_COUNT, values)
    return owner


def _page_of(connection: Connection, owner: Caller) -> Callable[[], float]:
    body = json.dumps({"filter": {"type": DOCUMENT_ARRAY}, "pageSize": _PAGE}).encode()
    headers = {**owner.headers, "Content-Type": "application/json"}
    return lambda: seconds_of(lambda: connection.ask("POST", "/v2/rpc/artifact.list", body, headers))


BENCHMARK = Benchmark("list-page", "artifact.list with a page of 50, among few and among a million", measure)
