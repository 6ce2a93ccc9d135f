"""An Executor's package as `jina hub push` sends it and as a pull reads it, against plain files on nginx."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks import load
from benchmarks.clock import alternating, seconds_of
from benchmarks.hub import Caller, Connection, temporary_hub
from benchmarks.load import Request
from benchmarks.packages import push_package
from benchmarks.peers import curl, nginx
from benchmarks.rows import MIB, Bar, Benchmark, Context, Quantity, Row

_ROUNDS = 3
_NAME = "Weights"
# A push inflates every byte, hashes it three times and waits for the disk, before it says that it is done.
_PUSH_BAR = Bar(0.1, "ratio", "at least")
_PULL_BAR = Bar(0.3, "ratio", "at least")
_LATENCY_BAR = Bar(15, "figure", "below", "ms")
_RATE_PER_S = 300
_SOURCE = """from jina import Executor, requests


class Weights(Executor):
    @requests
    def encode(self, docs, **kwargs):
        return docs
"""


def measure(context: Context) -> Iterator[Row]:
    size = context.sized(full=100 * MIB, small=16 * MIB)
    served = context.folder / "served"
    served.mkdir()
    seeds = iter(range(1_000_000))
    with (
        temporary_hub(context.folder / "hub") as alice,
        nginx(served, context.folder / "nginx", takes_puts=True) as peer,
    ):
        context.say(f"pushes of {size // MIB} MiB")
        ours, theirs = alternating(
            [lambda: _push(alice, _package(size, next(seeds))), lambda: _put(peer, _package(size, next(seeds)))],
            rounds=_ROUNDS,
        )
        yield _row(f"push of a package of {size // MIB} MiB", ours, theirs, _PUSH_BAR)
        # The first download warms the page cache for the hub, and what it wrote is warm for nginx.
        curl(_download_url(alice), target=served / "package")
        ours, theirs = alternating([_rate(_download_url(alice)), _rate(f"{peer}/package")], rounds=_ROUNDS)
        yield _row(f"pull of a package of {size // MIB} MiB", ours, theirs, _PULL_BAR)
        yield _latency(alice, peer, served, context.sized(full=20, small=8))


def _row(what: str, ours: float, theirs: float, bar: Bar) -> Row:
    return Row(what, Quantity(ours, "MiB/s"), Quantity(theirs, "MiB/s", "nginx"), bar)


def _package(size: int, seed: int) -> bytes:
    """A zip with weights that nothing makes smaller, other ones for each seed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.yml", f"jtype: {_NAME}\npy_modules: [executor.py]\nmetas: {{name: {_NAME}}}\n")
        archive.writestr("executor.py", _SOURCE)
        archive.writestr("weights.bin", random.Random(seed).randbytes(size))  # noqa: S311  (no secrets)
    return buffer.getvalue()


def _push(alice: Caller, package: bytes) -> float:
    return len(package) / MIB / seconds_of(lambda: push_package(alice, _NAME, package))


def _put(peer: str, package: bytes) -> float:
    with closing(Connection(peer)) as connection:
        seconds = seconds_of(lambda: connection.ask("PUT", "/put", package))
    return len(package) / MIB / seconds


def _question(alice: Caller) -> str:
    return f"/v2/rpc/executor.getPackage?id={alice.name(_NAME)}"


def _download_url(alice: Caller) -> str:
    with closing(Connection(alice.live.url)) as connection:
        answer = json.loads(connection.ask("GET", _question(alice), headers=alice.headers))
    url: str = answer["data"]["package"]["download"]
    return url


def _rate(url: str) -> Callable[[], float]:
    return lambda: curl(url).mib_per_s


def _latency(alice: Caller, peer: str, served: Path, duration_s: float) -> Row:
    (served / "answer.json").write_text('{"code": 200}')
    floor = load.measure(Request(f"{peer}/answer.json", rate_per_s=_RATE_PER_S, duration_s=duration_s))
    url = f"{alice.live.url}{_question(alice)}"
    seen = load.measure(Request(url, "POST", alice.headers, _RATE_PER_S, duration_s))
    note = f"p50 {seen.p50_ms:.1f} ms, longest {seen.max_ms:.1f} ms, {seen.answers:,} answers"
    if seen.failures:
        note += f", {seen.failures:,} FAILED"
    peer_figure = Quantity(floor.p99_ms, "ms", "nginx, a static file")
    return Row(f"p99 of getPackage at {_RATE_PER_S}/s", Quantity(seen.p99_ms, "ms"), peer_figure, _LATENCY_BAR, note)


BENCHMARK = Benchmark("package-rates", "push and pull of a package against nginx, getPackage under load", measure)
