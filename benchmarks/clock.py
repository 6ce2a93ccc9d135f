"""Times and their statistics."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

Result = TypeVar("Result")


def timed(call: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds that it took, and what it returned."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def seconds_of(call: Callable[[], object]) -> float:
    return timed(call)[0]


def alternating(calls: Sequence[Callable[[], float]], *, rounds: int) -> list[float]:
    """The median of each, measured in turns: a machine that slows down meanwhile slows down all of them."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, seconds in zip(calls, taken, strict=True):
            seconds.append(call())
    return [median(seconds) for seconds in taken]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    ranked = sorted(values)
    position = max(0, -int(-share * len(ranked) // 1) - 1)
    return ranked[position]
