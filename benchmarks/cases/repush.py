"""What a push adds to the disk when one document in a hundred has changed."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import replace
from itertools import chain

from benchmarks.hub import Caller, temporary_hub
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream

_ONE_IN = 100
_BAR = Bar(3, "figure", "below", "%")


def measure(context: Context) -> Iterator[Row]:
    total, runs = context.sized(full=GIB, small=128 * MIB), context.sized(full=5, small=1)
    for blob_bytes in (2 * KIB, 16 * KIB):
        shape = ArrayShape.of_size(total, blob_bytes=blob_bytes)
        what = f"{total // MIB} MiB of {blob_bytes // KIB} KiB documents, 1 % changed"
        context.say(what)
        with temporary_hub(context.folder / f"hub-{blob_bytes}") as alice:
            alice.push("again", stream(shape))
            full = alice.stored_bytes()
            yield from _pushed_again(
                alice, f"{what} in {runs} run{'s' * (runs > 1)}", shape, _runs(shape, runs), full, _BAR
            )
            scattered = range(0, shape.documents, _ONE_IN)
            # Compared with the first state: of the chunks that the runs changed, the old ones are still there.
            yield from _pushed_again(alice, f"{what} one by one", shape, scattered, full, None)


def _runs(shape: ArrayShape, runs: int) -> Container[int]:
    """So many runs of neighbours, evenly spread; one in a hundred in all."""
    length, distance = shape.documents // _ONE_IN // runs, shape.documents // runs
    return frozenset(chain.from_iterable(range(n * distance, n * distance + length) for n in range(runs)))


def _pushed_again(
    alice: Caller, what: str, shape: ArrayShape, changed: Container[int], full: int, bar: Bar | None
) -> Iterator[Row]:
    before = alice.stored_bytes()
    changed_shape = replace(shape, changed=changed, pushed_at=shape.pushed_at + 3600)
    receipt = alice.push("again", stream(changed_shape))
    added = alice.stored_bytes() - before
    note = f"the receipt says {receipt['newBytes'] / full:.1%}"
    yield Row(f"new bytes on disk, {what}", Quantity(added / full * 100, "%"), bar=bar, note=note)


BENCHMARK = Benchmark("re-push", "new bytes on disk when 1 % of an array's documents have changed", measure)
