"""What the server's process takes while it takes and gives very much."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.clock import seconds_of
from benchmarks.hub import Caller, temporary_hub
from benchmarks.peers import curl
from benchmarks.resident import peak_mib, reset_peak
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream, stream_of_one

_BAR = Bar(256, "figure", "below", "MiB")


def measure(context: Context) -> Iterator[Row]:
    total = context.sized(full=4 * GIB, small=256 * MIB)
    single = context.sized(full=GIB, small=128 * MIB)
    for what, size, blocks in (
        (f"{total // MIB} MiB of 16 KiB documents", total, stream(ArrayShape.of_size(total, blob_bytes=16 * KIB))),
        (f"one document of {single // MIB} MiB", single, stream_of_one(single)),
    ):
        context.say(what)
        # A hub of its own: memory that an allocator keeps from what came before is no part of this.
        with temporary_hub(context.folder / f"hub-{size}") as alice:
            yield _row(alice, f"peak of memory, push of {what}", size, lambda b=blocks: alice.push("big", b))  # type: ignore[misc]
            url = alice.download_url("big")
            yield _row(alice, f"peak of memory, pull of {what}", size, lambda u=url: curl(u))  # type: ignore[misc]


def _row(alice: Caller, what: str, size: int, call: Callable[[], object]) -> Row:
    reset_peak(alice.live.pid)
    seconds = seconds_of(call)
    note = f"{size / MIB / seconds:,.0f} MiB/s, the client on the same cores"
    return Row(what, Quantity(peak_mib(alice.live.pid), "MiB"), bar=_BAR, note=note)


BENCHMARK = Benchmark("memory", "resident memory of the server during very large pushes and pulls", measure)
