"""The download that an old client makes, against nginx with the same bytes in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.clock import alternating
from benchmarks.hub import Caller, temporary_hub
from benchmarks.peers import curl, nginx
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream

_ROUNDS = 3
_SHAPES = ((2 * KIB, 0.1), (100 * KIB, 0.3))


def measure(context: Context) -> Iterator[Row]:
    total = context.sized(full=GIB, small=128 * MIB)
    served = context.folder / "served"
    served.mkdir()
    with temporary_hub(context.folder / "hub") as alice, nginx(served, context.folder / "nginx") as peer:
        for blob_bytes, bar in _SHAPES:
            context.say(f"{total // MIB} MiB of {blob_bytes // KIB} KiB documents")
            yield _compare(alice, peer, served, ArrayShape.of_size(total, blob_bytes=blob_bytes), bar)


def _compare(alice: Caller, peer: str, served: Path, shape: ArrayShape, bar: float) -> Row:
    array = f"of-{shape.blob_bytes}"
    alice.push(array, stream(shape))
    # The first download warms the page cache for the hub, and what it wrote is warm for nginx.
    size = curl(alice.download_url(array), target=served / array).received_bytes
    ours, theirs = alternating([_rate(alice.download_url(array)), _rate(f"{peer}/{array}")], rounds=_ROUNDS)
    (served / array).unlink()
    return Row(
        f"old client's pull stream, {size // MIB} MiB of {shape.blob_bytes // KIB} KiB documents",
        Quantity(ours, "MiB/s"),
        Quantity(theirs, "MiB/s", "nginx"),
        Bar(bar, "ratio", "at least"),
    )


def _rate(url: str) -> Callable[[], float]:
    return lambda: curl(url).mib_per_s


BENCHMARK = Benchmark("pull-rate", "an old client's download, read by curl, against nginx with a file", measure)
