"""What a benchmark is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

MIB = 1024**2
GIB = 1024**3

Scale = Literal["small", "full"]


class NotMeasurable(RuntimeError):
    """Something that the measurement needs is not there; the message says what."""


class Verdict(StrEnum):
    MET = "pass"
    FAILED = "FAIL"
    NOT_MEASURED = "not measured"
    INFORMATION = "-"


@dataclass(frozen=True, slots=True)
class Quantity:
    """``label`` says whose figure it is, where it stands in the peer's column."""

    value: float
    unit: str
    label: str = ""

    def __str__(self) -> str:
        text = f"{_rounded(self.value)} {self.unit}".rstrip()
        return f"{text} ({self.label})" if self.label else text


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit for the figure itself, or for its ratio to the peer's."""

    limit: float
    of: Literal["figure", "ratio"]
    holds: Literal["at least", "at most", "below"]
    unit: str = ""

    def is_met_by(self, value: float) -> bool:
        if self.holds == "at least":
            return value >= self.limit
        return value < self.limit if self.holds == "below" else value <= self.limit

    def __str__(self) -> str:
        unit = "x" if self.of == "ratio" else f" {self.unit}"
        return f"{self.holds} {_rounded(self.limit)}{unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Without a figure it was not measured, and the note says why."""

    what: str
    figure: Quantity | None = None
    peer: Quantity | None = None
    bar: Bar | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The figure over the peer's, in that order always."""
        if self.figure is None or self.peer is None or not self.peer.value:
            return None
        return self.figure.value / self.peer.value

    @property
    def verdict(self) -> Verdict:
        if self.figure is None:
            return Verdict.NOT_MEASURED
        judged = self._judged()
        if self.bar is None or judged is None:
            return Verdict.INFORMATION
        return Verdict.MET if self.bar.is_met_by(judged) else Verdict.FAILED

    def _judged(self) -> float | None:
        if self.bar is None or self.figure is None:
            return None
        return self.ratio if self.bar.of == "ratio" else self.figure.value


@dataclass(frozen=True, slots=True)
class Context:
    """Where a benchmark puts its files and how much of everything it takes; ``say`` tells people how far it is."""

    folder: Path
    scale: Scale
    say: Callable[[str], None] = field(default=print)

    def sized(self, *, full: int, small: int) -> int:
        return full if self.scale == "full" else small


@dataclass(frozen=True, slots=True)
class Benchmark:
    """``measure`` may raise NotMeasurable; what it yielded before stands."""

    name: str
    about: str
    measure: Callable[[Context], Iterator[Row]]


def _rounded(value: float) -> str:
    """Three figures that mean something."""
    if value and abs(value) < 1:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
