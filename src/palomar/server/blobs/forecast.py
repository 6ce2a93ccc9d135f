"""What a collection will remove and how long it takes: said before it begins, and every few seconds while it runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

# Small ones, on a machine with two cores that has other work to do as well.
_GUESSED_PER_S: Final = 1000
_TELL_EVERY_S: Final = 5.0
_MIB: Final = 1024**2
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Expected:
    """Blobs that nothing references, and bytes without a row, as far as they were counted."""

    blobs: int = 0
    blob_bytes: int = 0
    orphans: int = 0
    orphan_bytes: int = 0

    @property
    def guessed_s(self) -> float:
        """Before anything is measured."""
        return (self.blobs + self.orphans) / _GUESSED_PER_S

    def __str__(self) -> str:
        rows, rest = amount(self.blobs, self.blob_bytes), amount(self.orphans, self.orphan_bytes)
        return f"{rows} that nothing references and {rest} without a row would go, in about {duration(self.guessed_s)}"


@dataclass(frozen=True, slots=True)
class Progress:
    """What is gone of what was expected, and about how long the rest takes."""

    blobs: int
    blob_bytes: int
    expected_blobs: int
    expected_bytes: int
    remaining_s: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        expected = amount(self.expected_blobs, self.expected_bytes)
        return f"{self.blobs:,} of {expected} are gone, about {duration(self.remaining_s)} left"


Tell: TypeAlias = Callable[[Progress], None]


class Forecast:
    """Tells the guess at once and then, every few seconds, what follows from the pace so far."""

    def __init__(self, expected: Expected, tell: Tell, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = expected
        self._tell = tell
        self._clock = clock
        self._begun_at = self._told_at = clock()
        self._say(0, 0, expected.guessed_s)

    def note(self, blobs: int, blob_bytes: int) -> None:
        """So many are gone."""
        now = self._clock()
        if now - self._told_at < _TELL_EVERY_S or not blobs:
            return
        self._told_at = now
        left = max(0, self._expected.blobs - blobs)
        self._say(blobs, blob_bytes, left * (now - self._begun_at) / blobs)

    @property
    def passed_s(self) -> float:
        return self._clock() - self._begun_at

    def _say(self, blobs: int, blob_bytes: int, remaining_s: float) -> None:
        expected = self._expected
        self._tell(Progress(blobs, blob_bytes, expected.blobs, expected.blob_bytes, math.ceil(remaining_s * 10) / 10))


def amount(blobs: int, size_bytes: int) -> str:
    return f"{blobs:,} blob{'s' * (blobs != 1)} ({size_bytes / _MIB:,.1f} MiB)"


def duration(seconds: float) -> str:
    """Rounded up, as befits a forecast."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < _MINUTE_S else f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
