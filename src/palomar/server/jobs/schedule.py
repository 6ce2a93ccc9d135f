"""Schedules: which run is due, by a rule that every replica computes alike."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Schedule:
    """Time is cut into slots of ``every_s`` seconds since 1970, and every slot has one run, named after it.

    Replicas therefore need not agree on who starts it: whoever comes first does, the others find the run there. A hub
    that was off makes up for the current slot when it starts, and not for those that went by.
    """

    name: str
    every_s: int
    _started: int | None = field(default=None, init=False)

    def due(self, now_s: float) -> str | None:
        """The id of the run that this process has not asked for yet."""
        slot = int(now_s // self.every_s)
        return None if slot == self._started else f"{self.name}-every-{self.every_s}-{slot}"

    def started(self, now_s: float) -> None:
        self._started = int(now_s // self.every_s)

    def next_s(self, now_s: float) -> float:
        """Seconds to the next slot."""
        return self.every_s - now_s % self.every_s
