"""The two calls that every pull and push begins with, under a steady load."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks import load
from benchmarks.hub import Caller, temporary_hub
from benchmarks.load import Latencies, Request
from benchmarks.peers import nginx
from benchmarks.rows import MIB, Bar, Benchmark, Context, NotMeasurable, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream

_RATE_PER_S = 300
_BAR = Bar(15, "figure", "below", "ms")
_PUSHED_BYTES = 64 * MIB


def measure(context: Context) -> Iterator[Row]:
    duration_s = context.sized(full=20, small=8)
    floor = _floor(context.folder, duration_s)
    with temporary_hub(context.folder / "hub") as alice:
        alice.push("small", stream(ArrayShape(100, 2 * KIB)))
        for request, name in _requests(alice, duration_s):
            context.say(f"{name} at {_RATE_PER_S} requests/s")
            yield _row(f"p99 of {name}", load.measure(request), floor, _BAR)
        with _Pushing(alice):
            for request, name in _requests(alice, duration_s):
                context.say(f"{name} during a push")
                yield _row(f"p99 of {name}, during a push", load.measure(request), floor, None)


def _requests(alice: Caller, duration_s: float) -> Iterator[tuple[Request, str]]:
    for method, path, name in (
        ("POST", "/v2/rpc/user.identity.whoami", "whoami"),
        ("GET", alice.download_path("small"), "getDownloadUrl"),
    ):
        yield Request(f"{alice.live.url}{path}", method, alice.headers, _RATE_PER_S, duration_s), name


def _floor(folder: Path, duration_s: float) -> Quantity | None:
    """What the load's own machinery takes, on a server that has nothing to do."""
    served = folder / "served"
    served.mkdir()
    (served / "answer.json").write_text('{"code": 200}')
    try:
        with nginx(served, folder / "nginx") as url:
            answer = load.measure(Request(f"{url}/answer.json", rate_per_s=_RATE_PER_S, duration_s=duration_s))
    except NotMeasurable:
        return None
    return Quantity(answer.p99_ms, "ms", "nginx, a static file")


def _row(what: str, seen: Latencies, floor: Quantity | None, bar: Bar | None) -> Row:
    note = f"p50 {seen.p50_ms:.1f} ms, longest {seen.max_ms:.1f} ms, {seen.answers:,} answers"
    if seen.failures:
        note += f", {seen.failures:,} FAILED"
    return Row(f"{what} at {_RATE_PER_S}/s", Quantity(seen.p99_ms, "ms"), floor, bar, note)


class _Pushing:
    """Pushes new arrays, one after the other, until it is left."""

    def __init__(self, alice: Caller) -> None:
        self._alice = alice
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._push, name="pushing")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _push(self) -> None:
        seed = 1
        while not self._is_over.is_set():
            seed += 1
            self._alice.push("busy", stream(ArrayShape.of_size(_PUSHED_BYTES, blob_bytes=16 * KIB, seed=seed)))


BENCHMARK = Benchmark("latency", "whoami and getDownloadUrl at 300 requests/s on SQLite", measure)
