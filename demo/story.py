"""The steps of the demo, in the order in which they were registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from demo.stage import Stage

#: Does what its title says and yields lines that show it; raises DemoFailed if it does not come out.
Play = Callable[[Stage], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Step:
    title: str
    run: Play


STEPS: list[Step] = []


def step(title: str) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        STEPS.append(Step(title, play))
        return play

    return register
