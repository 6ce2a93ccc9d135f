"""How long a person waits for ``palomar --help``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

from benchmarks.clock import alternating, seconds_of
from benchmarks.rows import Bar, Benchmark, Context, Quantity, Row
from tools.live_hub import palomar

_ROUNDS = 10
_BAR = Bar(150, "figure", "below", "ms")


def measure(_context: Context) -> Iterator[Row]:
    calls = [_run(palomar(), "--help"), _run(sys.executable, "-c", "pass")]
    ours, python = (seconds * 1000 for seconds in alternating(calls, rounds=_ROUNDS))
    yield Row("palomar --help", Quantity(ours, "ms"), Quantity(python, "ms", "python -c pass"), _BAR)


def _run(*command: str) -> Callable[[], float]:
    return lambda: seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))


BENCHMARK = Benchmark("help-page", "the time of palomar --help", measure)
