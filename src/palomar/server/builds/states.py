"""What a build can be, and which steps it may take from there."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class BuildState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_over(self) -> bool:
        return self not in LIVE


LIVE: Final = frozenset({BuildState.WAITING, BuildState.RUNNING})

# A running build may begin to run once more: its worker died, and another one took it over.
_STEPS: Final = {
    BuildState.WAITING: frozenset({BuildState.RUNNING, BuildState.FAILED, BuildState.CANCELLED}),
    BuildState.RUNNING: frozenset({BuildState.RUNNING, BuildState.SUCCEEDED, BuildState.FAILED, BuildState.CANCELLED}),
}


class IllegalStepError(RuntimeError):
    """A mistake in the program: an end is for ever."""

    def __init__(self, current: BuildState, to: BuildState) -> None:
        super().__init__(f"a build that is {current} cannot become {to}")


def checked_step(current: str, to: BuildState) -> BuildState:
    """``to``, if a build may go there from ``current``. Raises IllegalStepError."""
    state = BuildState(current)
    if to not in _STEPS.get(state, frozenset()):
        raise IllegalStepError(state, to)
    return to
