"""Requests at a fixed mean rate from a process of its own, whatever the answers take.

Arrivals are random (exponential gaps) and each latency counts from the moment the request was due, so a server that
stalls is charged for every request that waited meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.clock import percentile

_ROOT = Path(__file__).resolve().parent.parent
_CONNECTIONS = 32
_WARM_UP_S = 2.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent over and over, and how often."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    rate_per_s: float = 300
    duration_s: float = 20

    def as_bytes(self) -> bytes:
        parts = urlsplit(self.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Host": parts.netloc, **self.headers}
        if self.method == "POST":
            headers["Content-Length"] = "0"
        lines = [f"{self.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclass(frozen=True, slots=True)
class Latencies:
    p50_ms: float
    p99_ms: float
    max_ms: float
    answers: int
    failures: int


def measure(request: Request) -> Latencies:
    """Runs the load in another process, so that whatever this one does meanwhile costs it nothing."""
    command = [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(request))]
    limit_s = request.duration_s + 60
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True, timeout=limit_s)
    return Latencies(**json.loads(done.stdout))


class _Load:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._bytes = request.as_bytes()
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._latencies_s: list[float] = []
        self._failures = 0

    async def run(self) -> Latencies:
        address = urlsplit(self._request.url)
        for _ in range(_CONNECTIONS):
            self._idle.put_nowait(await asyncio.open_connection(address.hostname, address.port))
        await self._send_for(_WARM_UP_S)
        self._latencies_s.clear()
        await self._send_for(self._request.duration_s)
        return self._summary()

    async def _send_for(self, duration_s: float) -> None:
        gaps = random.Random(1)  # noqa: S311  (the same arrivals in every run are wanted)
        due, end = time.perf_counter(), time.perf_counter() + duration_s
        under_way: set[asyncio.Task[None]] = set()
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(self._exchange(due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            due += gaps.expovariate(self._request.rate_per_s)
        await asyncio.gather(*under_way)

    async def _exchange(self, due: float) -> None:
        connection = await self._idle.get()
        reader, writer = connection
        writer.write(self._bytes)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        self._latencies_s.append(time.perf_counter() - due)
        self._failures += not head.startswith(b"HTTP/1.1 200")
        self._idle.put_nowait(connection)

    def _summary(self) -> Latencies:
        return Latencies(
            p50_ms=percentile(self._latencies_s, 0.50) * 1000,
            p99_ms=percentile(self._latencies_s, 0.99) * 1000,
            max_ms=max(self._latencies_s) * 1000,
            answers=len(self._latencies_s),
            failures=self._failures,
        )


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise ValueError("an answer without a length")


if __name__ == "__main__":
    print(json.dumps(asdict(asyncio.run(_Load(Request(**json.loads(sys.argv[1]))).run()))))
