"""What a collection says of itself, in numbers and in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from palomar.server.blobs.collection import Collected
from palomar.server.blobs.forecast import Expected, Forecast, Progress, duration

MIB = 1024**2


class Watched:
    """A forecast of 4,000 blobs, on a clock that a test turns."""

    def __init__(self) -> None:
        self.now = SimpleNamespace(s=100.0)
        self.told: list[Progress] = []
        self.forecast = Forecast(Expected(4000, 40 * MIB), self.told.append, clock=lambda: self.now.s)

    def after(self, seconds: float, blobs: int) -> None:
        self.now.s += seconds
        self.forecast.note(blobs, blobs * 10_000)


def test_what_will_go_is_told_before_anything_is_gone() -> None:
    assert Watched().told == [Progress(0, 0, 4000, 40 * MIB, remaining_s=4.0)]


def test_the_rest_takes_as_long_as_the_pace_so_far_says() -> None:
    watched = Watched()
    watched.after(10, blobs=1000)
    watched.after(10, blobs=3000)
    assert [progress.remaining_s for progress in watched.told[1:]] == [30.0, pytest.approx(20 / 3, abs=0.1)]
    assert watched.forecast.passed_s == 20


def test_it_is_told_every_few_seconds_and_not_of_every_batch() -> None:
    watched = Watched()
    for batch in range(1, 13):
        watched.after(1, blobs=100 * batch)
    assert [progress.blobs for progress in watched.told] == [0, 500, 1000]


def test_nothing_follows_from_nothing() -> None:
    """As when another collection takes it all."""
    watched = Watched()
    watched.after(60, blobs=0)
    assert len(watched.told) == 1


def test_more_than_was_expected_leaves_no_time() -> None:
    watched = Watched()
    watched.after(60, blobs=4001)
    assert watched.told[-1].remaining_s == 0


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (0.2, "1 s"), (59, "59 s"), (60, "1 min 0 s"), (599.5, "10 min 0 s")]
)
def test_durations_are_rounded_up(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_words() -> None:
    assert str(Expected(250_000, 256 * MIB, 1, 100)) == (
        "250,000 blobs (256.0 MiB) that nothing references and 1 blob (0.0 MiB) without a row would go, in about"
        " 4 min 11 s"
    )
    assert str(Progress(1000, MIB, 4000, 4 * MIB, 3.2)) == "1,000 of 4,000 blobs (4.0 MiB) are gone, about 4 s left"
    gone = "1 blob (1.0 MiB) that nothing referenced and 0 blobs (0.0 MiB) without a row are gone, in 3 s"
    assert str(Collected(1, MIB, seconds=2.1)) == gone
    assert str(Collected(1, MIB, failed=2, seconds=2.1)) == f"{gone}; 2 deletions were refused by the store"
