"""Collection every second, without grace, while people push, pull and delete: it takes what is garbage and no more."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.streams import documents_of, numbered_stream
from tests.faults.wire import Wire
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Few, so that what has just become garbage is soon pushed again. Those of the first are never garbage: they are kept
# under other names too.
STREAMS = [numbered_stream(number) for number in range(6)]
DOCUMENTS = [documents_of(data) for data in STREAMS]
KEPT = 3
COLLECTIONS_AT_LEAST = 5
GIVE_UP_AFTER = 400
# While a push runs, collection takes nothing that is younger than two minutes; so pushes leave it gaps.
GAP_S = 0.2


@pytest.fixture
def greedy_hub(tmp_path: Path) -> Iterator[LiveHub]:
    hub = LiveHub(
        tmp_path / "greedy", PALOMAR_COLLECT_EVERY_S="1", PALOMAR_COLLECT_GRACE_S="0", PALOMAR_UNDELETE_DAYS="0"
    )
    hub.start()
    yield hub
    hub.kill()


def collections_with_blobs(hub: LiveHub) -> int:
    lines = (line for line in hub.log.splitlines() if '"collected"' in line)
    return sum(json.loads(line)["blobs"] > 0 for line in lines)


def push_and_delete(wire: Wire, turn: int) -> None:
    """Of two arrays that are there at a time, the older one goes."""
    which = turn % len(STREAMS)
    pushed = wire.push(STREAMS[which], f"alice/short-lived-{turn}")
    assert pushed.http == 200, pushed.body
    assert_served(wire, f"alice/short-lived-{turn}", which)
    if turn:
        assert wire.call("artifact.delete", name=f"alice/short-lived-{turn - 1}").http == 200


def assert_served(wire: Wire, name: str, which: int) -> None:
    answer = wire.pull(name)
    assert answer.http == 200, answer.body
    assert documents_of(answer.body) == DOCUMENTS[which]


def keep_pulling(wire: Wire, stopped: threading.Event) -> int:
    pulls = 0
    while not stopped.is_set():
        assert_served(wire, f"alice/kept-{pulls % KEPT}", pulls % KEPT)
        pulls += 1
    return pulls


def test_nothing_that_is_referenced_is_lost(greedy_hub: LiveHub):
    wire = Wire(greedy_hub.url, greedy_hub.add_user("alice"))
    for which in range(KEPT):
        assert wire.push(STREAMS[which], f"alice/kept-{which}").http == 200
    stopped = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        pulling = [pool.submit(keep_pulling, wire, stopped) for _ in range(2)]
        try:
            for turn in range(GIVE_UP_AFTER):
                push_and_delete(wire, turn)
                if collections_with_blobs(greedy_hub) >= COLLECTIONS_AT_LEAST and turn > 2 * len(STREAMS):
                    break
                stopped.wait(GAP_S)
        finally:
            stopped.set()
        assert all(one.result() for one in pulling)
    assert collections_with_blobs(greedy_hub) >= COLLECTIONS_AT_LEAST, "collection found nothing to take"
    for which in range(KEPT):
        assert_served(wire, f"alice/kept-{which}", which)
    assert_served(wire, f"alice/short-lived-{turn}", turn % len(STREAMS))
