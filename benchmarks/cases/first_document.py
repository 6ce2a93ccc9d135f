"""How soon the first document of a large array is there, and whether that depends on how large it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import median

from benchmarks.clock import seconds_of
from benchmarks.hub import Caller, Connection, temporary_hub
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, NotMeasurable, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream

_ROUNDS = 30
_BAR = Bar(100, "figure", "below", "ms")
# Bytes of an old client's stream that hold its first document, whatever its frame.
_BEGINNING = {"Range": f"bytes=0-{1024 * KIB - 1}"}


def measure(context: Context) -> Iterator[Row]:
    sizes = context.sized(full=GIB, small=64 * MIB), context.sized(full=10 * GIB, small=512 * MIB)
    with temporary_hub(context.folder / "hub") as alice, closing(Connection(alice.live.url)) as connection:
        for size in sizes:
            context.say(f"pushing {size // MIB} MiB")
            alice.push(f"of-{size}", stream(ArrayShape.of_size(size, blob_bytes=100 * KIB, seed=size // MIB)))
        yield from _rows("first document by its number", sizes, lambda size: _by_number(alice, connection, size, 0))
        last = sizes[0] // (100 * KIB) - 1
        yield from _rows("a later document", sizes, lambda size: _by_number(alice, connection, size, last))
        yield from _rows("old client: URL and first MiB", sizes, lambda size: _by_range(alice, connection, size))


def _rows(what: str, sizes: tuple[int, int], one: Callable[[int], float]) -> Iterator[Row]:
    """Of the larger array, with the smaller one as its peer: the ratio says whether the time grows."""
    try:
        small, large = (_warm_ms(one, size) for size in sizes)
    except NotMeasurable as error:
        yield Row(what, bar=_BAR, note=str(error))
        return
    names = [f"{size // MIB:,} MiB" for size in sizes]
    yield Row(f"{what}, array of {names[0]}", Quantity(small, "ms"), bar=_BAR)
    yield Row(f"{what}, array of {names[1]}", Quantity(large, "ms"), bar=_BAR)
    growth = Bar(1.5, "ratio", "at most")
    yield Row(f"{what}, growth", Quantity(large, "ms"), Quantity(small, "ms", f"array of {names[0]}"), growth)


def _warm_ms(one: Callable[[int], float], size: int) -> float:
    one(size)
    return median(one(size) for _ in range(_ROUNDS)) * 1000


def _by_number(alice: Caller, connection: Connection, size: int, number: int) -> float:
    path = f"{alice.version_path(f'of-{size}')}/documents?start={number}&stop={number + 1}"
    return seconds_of(lambda: connection.ask("GET", path, headers=alice.headers))


def _by_range(alice: Caller, connection: Connection, size: int) -> float:
    def both() -> None:
        url = alice.download_url(f"of-{size}")
        connection.ask("GET", url.removeprefix(alice.live.url), headers=_BEGINNING)

    return seconds_of(both)


BENCHMARK = Benchmark("first-document", "latency of a document of a large array, warm", measure)
