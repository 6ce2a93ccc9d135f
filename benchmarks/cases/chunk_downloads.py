"""Chunks as a new client downloads them, four at a time, against nginx with files of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from benchmarks.clock import alternating
from benchmarks.hub import Caller, Connection, temporary_hub
from benchmarks.peers import Transfer, curl_all, nginx
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, Quantity, Row
from benchmarks.streams import KIB, ArrayShape, stream
from palomar.documents.manifest import Manifest

_PARALLEL = 4
_ROUNDS = 3
_BAR = Bar(0.5, "ratio", "at least")
_ARRAY = "chunks"


def measure(context: Context) -> Iterator[Row]:
    total = context.sized(full=GIB, small=128 * MIB)
    served, config = context.folder / "served", context.folder / "curl.conf"
    served.mkdir()
    with temporary_hub(context.folder / "hub") as alice, nginx(served, context.folder / "nginx") as peer:
        alice.push(_ARRAY, stream(ArrayShape.of_size(total, blob_bytes=16 * KIB)))
        digests = _digests(alice)
        base = f"{alice.live.url}{alice.version_path(_ARRAY)}/chunks"
        context.say(f"{len(digests)} chunks")
        first = _download(base, digests, config, alice.headers, served)
        ours, theirs = alternating(
            [_rate(base, digests, config, alice.headers), _rate(peer, digests, config)], rounds=_ROUNDS
        )
    yield Row(
        f"native download of {len(digests)} chunks ({first.received_bytes // MIB} MiB), {_PARALLEL} at a time",
        Quantity(ours, "MiB/s"),
        Quantity(theirs, "MiB/s", "nginx"),
        _BAR,
    )


def _digests(alice: Caller) -> list[str]:
    with closing(Connection(alice.live.url)) as connection:
        answer = connection.ask("GET", f"{alice.version_path(_ARRAY)}/manifest", headers=alice.headers)
    return list(dict.fromkeys(chunk.digest for chunk in Manifest.decode(answer).chunks))


def _download(
    base: str, digests: list[str], config: Path, headers: Mapping[str, str], target: Path | None = None
) -> Transfer:
    urls = [(f"{base}/{digest}", target / digest if target else None) for digest in digests]
    return curl_all(urls, config, parallel=_PARALLEL, headers=headers)


def _rate(base: str, digests: list[str], config: Path, headers: Mapping[str, str] = {}) -> Callable[[], float]:
    return lambda: _download(base, digests, config, headers).mib_per_s


BENCHMARK = Benchmark("chunk-downloads", "native download of an array's chunks against nginx with files", measure)
