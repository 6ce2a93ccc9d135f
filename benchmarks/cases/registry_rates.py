"""Blobs and manifests of images, against CNCF Distribution on the same machine with the same client."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.clock import alternating, timed
from benchmarks.hub import temporary_hub
from benchmarks.registries import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_TYPE,
    Blob,
    RegistryConnection,
    Repository,
    docker_registry,
    manifests_per_s,
    pull_all,
    push_all,
    repository_of,
)
from benchmarks.rows import GIB, MIB, Bar, Benchmark, Context, Quantity, Row

_PEER = "CNCF Distribution"
_ROUNDS = 3
_PARALLEL = 5
_CONNECTIONS = 4
_MANIFEST_LAYERS = 10
_PUSH_BAR = Bar(2.5, "ratio", "at least")
_PULL_BAR = Bar(1.5, "ratio", "at least")
_UNCHECKED = "the client does not hash what comes"


def measure(context: Context) -> Iterator[Row]:
    large = context.sized(full=GIB, small=64 * MIB)
    layers = context.sized(full=100, small=20)
    with temporary_hub(context.folder / "hub") as alice, docker_registry(context.folder / "peer") as peer:
        pair = (lambda: repository_of(alice, "bench"), lambda: Repository(peer, "alice/bench"))
        yield from _one_blob(context, pair, large)
        yield from _many_layers(context, pair, layers)
        yield _manifests(context, pair)


#: Asked before each measurement: a registry's token is good for minutes, and all of them take longer.
Open = Callable[[], Repository]
Pair = tuple[Open, Open]


def _one_blob(context: Context, pair: Pair, size: int) -> Iterator[Row]:
    source = _Source(context.folder / "blob", size)
    for is_streamed, how in ((True, "POST, PATCH, PUT"), (False, "POST, PUT")):
        context.say(f"pushes of {size // MIB} MiB, {how}")
        ours, theirs = alternating([_push(open_one, source, is_streamed) for open_one in pair], rounds=_ROUNDS)
        yield _row(f"push of one blob of {size // MIB} MiB ({how})", ours, theirs, _PUSH_BAR)
    blob = source.fresh()
    for open_one in pair:
        push_all(open_one(), [blob], parallel=1)
        pull_all(open_one(), [blob], parallel=1)
    context.say(f"pulls of {size // MIB} MiB")
    ours, theirs = alternating([_pull(open_one, [blob], 1) for open_one in pair], rounds=_ROUNDS)
    yield _row(f"pull of one blob of {size // MIB} MiB", ours, theirs, _PULL_BAR, _UNCHECKED)


def _many_layers(context: Context, pair: Pair, count: int) -> Iterator[Row]:
    seeds = iter(range(1_000_000))
    folder = context.folder / "layers"
    folder.mkdir()

    def push(open_one: Open) -> Callable[[], float]:
        def once() -> float:
            blobs, repository = _layers(folder, count, next(seeds)), open_one()
            os.sync()
            return push_all(repository, blobs, parallel=_PARALLEL)

        return once

    context.say(f"{count} layers of 1 MiB, {_PARALLEL} at a time")
    ours, theirs = alternating([push(open_one) for open_one in pair], rounds=_ROUNDS)
    what = f"{count} layers of 1 MiB, {_PARALLEL} at a time"
    yield _row(f"push of {what}", ours, theirs, None)
    blobs = _layers(folder, count, next(seeds))
    for open_one in pair:
        push_all(open_one(), blobs, parallel=_PARALLEL)
        pull_all(open_one(), blobs, parallel=_PARALLEL)
    ours, theirs = alternating([_pull(open_one, blobs, _PARALLEL) for open_one in pair], rounds=_ROUNDS)
    yield _row(f"pull of {what}", ours, theirs, None, _UNCHECKED)


def _manifests(context: Context, pair: Pair) -> Row:
    duration_s = context.sized(full=8, small=2)
    folder = context.folder / "image"
    folder.mkdir()
    blobs = _layers(folder, _MANIFEST_LAYERS, 1)
    content = _manifest(blobs)
    for repository in (open_one() for open_one in pair):
        push_all(repository, blobs, parallel=1)
        with closing(RegistryConnection(repository)) as connection:
            connection.put_manifest("latest", content)
    context.say("manifests by tag")
    ours, theirs = alternating([_ask(open_one, duration_s) for open_one in pair], rounds=_ROUNDS)
    return Row(
        f"manifests by tag over {_CONNECTIONS} connections",
        Quantity(ours, "/s"),
        Quantity(theirs, "/s", _PEER),
        note="the hub asks at each request whether the caller may read; Distribution is open to all here",
    )


def _row(what: str, ours: float, theirs: float, bar: Bar | None, note: str = "") -> Row:
    return Row(what, Quantity(ours, "MiB/s"), Quantity(theirs, "MiB/s", _PEER), bar, note)


def _push(open_one: Open, source: _Source, is_streamed: bool) -> Callable[[], float]:
    def once() -> float:
        blob, repository = source.fresh(), open_one()
        # What earlier pushes left to be written is not this one's to wait for.
        os.sync()
        with closing(RegistryConnection(repository)) as connection:
            seconds, _ = timed(lambda: connection.push(blob, is_streamed=is_streamed))
        return blob.size_bytes / MIB / seconds

    return once


def _pull(open_one: Open, blobs: list[Blob], parallel: int) -> Callable[[], float]:
    def once() -> float:
        return pull_all(open_one(), blobs, parallel=parallel)

    return once


def _ask(open_one: Open, duration_s: float) -> Callable[[], float]:
    return lambda: manifests_per_s(open_one(), "latest", parallel=_CONNECTIONS, duration_s=duration_s)


class _Source:
    """One file of random bytes, whose first bytes are new every time: no registry has seen it before."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._generation = 0
        source = random.Random(1)  # noqa: S311  (the same bytes in every run are wanted)
        with path.open("wb") as file:
            for _ in range(size // MIB):
                file.write(source.randbytes(MIB))

    def fresh(self) -> Blob:
        self._generation += 1
        with self._path.open("r+b") as file:
            file.write(self._generation.to_bytes(16, "big"))
        return _blob(self._path)


def _layers(folder: Path, count: int, seed: int) -> list[Blob]:
    source = random.Random(seed)  # noqa: S311  (the same bytes in every run are wanted)
    blobs = []
    for number in range(count):
        path = folder / f"{number}"
        path.write_bytes(source.randbytes(MIB))
        blobs.append(_blob(path))
    return blobs


def _blob(path: Path) -> Blob:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(path, f"sha256:{digest}", path.stat().st_size)


def _manifest(blobs: list[Blob]) -> bytes:
    described = [{"digest": blob.digest, "size": blob.size_bytes} for blob in blobs]
    config = {"mediaType": CONFIG_TYPE, **described[0]}
    layers = [{"mediaType": LAYER_TYPE, **one} for one in described[1:]]
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers}
    return json.dumps(document).encode()


BENCHMARK = Benchmark("registry-rates", "push and pull of images against CNCF Distribution", measure)
