"""docarray 0.21 with its own push and pull, against the same client's file and a later client's file store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cases import old_client_scripts as scripts
from benchmarks.hub import Caller, temporary_hub
from benchmarks.rows import Benchmark, Context, NotMeasurable, Quantity, Row
from tools.old_clients import OldClient, OldClientsMissing, environment

_TIMEOUT_S = 1800.0
_NOTE = "the ratio is of times: below 1 is faster"


def measure(context: Context) -> Iterator[Row]:
    shapes = {
        "documents with 512-d float32 embeddings": ("embedding", context.sized(full=20_000, small=2_000)),
        "documents with 100 KB blobs": ("blob", context.sized(full=2_000, small=200)),
    }
    client = _client("d021", context.folder)
    with temporary_hub(context.folder / "hub") as alice:
        for label, (field, count) in shapes.items():
            what = f"{count:,} {label}"
            context.say(what)
            seen = _run(client, scripts.DOCARRAY_021, alice, field, count)
            yield from _against_file(what, seen)
            yield from _against_store(what, seen, field, count, context.folder)


def _against_file(what: str, seen: dict[str, float]) -> Iterator[Row]:
    for verb, peer in (("push", "save"), ("pull", "load")):
        there = Quantity(seen[peer], "s", f"its own {peer}_binary")
        yield Row(f"docarray 0.21 {verb}, {what}", Quantity(seen[verb], "s"), there, note=_NOTE)


def _against_store(what: str, seen: dict[str, float], field: str, count: int, folder: Path) -> Iterator[Row]:
    """The store that docarray itself came to have later; another client, so no more than a point of reference."""
    client = _client("d038", folder)
    stored = _run(client, scripts.DOCARRAY_038, None, field, count)
    for verb in ("push", "pull"):
        there = Quantity(stored[verb], "s", "0.38's FileDocStore")
        yield Row(f"docarray 0.21 {verb}, {what}", Quantity(seen[verb], "s"), there, note=_NOTE)


def _client(generation: str, folder: Path) -> OldClient:
    try:
        return OldClient(environment(generation), folder / f"home-{generation}")
    except OldClientsMissing as error:
        raise NotMeasurable(str(error)) from None


def _run(client: OldClient, script: str, alice: Caller | None, field: str, count: int) -> dict[str, float]:
    url, token = (alice.live.url, alice.token) if alice else ("http://127.0.0.1:9", None)
    done = client.run(script, field, str(count), registry=url, token=token, timeout_s=_TIMEOUT_S)
    if done.exit_code:
        raise RuntimeError(f"the old client failed: {done.stderr[-2000:]}")
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


BENCHMARK = Benchmark("old-client", "push and pull of docarray 0.21 against its own files", measure)
