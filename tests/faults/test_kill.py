"""The hub is killed again and again under pushes: a receipt means that the data is there, and nothing is half there."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.faults.streams import documents_of, numbered_stream
from tests.faults.wire import Wire
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

KILLS = 50
PUSHERS = 4
STREAMS = [numbered_stream(number) for number in range(12)]
DOCUMENTS = [documents_of(data) for data in STREAMS]
LARGEST_WAIT_S = 0.1
GIVE_UP_S = 60


@dataclass
class Name:
    """What may be served under a name: what got the last receipt, or what has been sent since without one."""

    received: int | None = None
    version: int = 0
    unanswered: set[int] = field(default_factory=set)


@dataclass
class Pusher:
    """Pushes one stream after the other, half of them to a name that it uses again and again."""

    number: int
    wire: Wire
    stopped: threading.Event = field(default_factory=threading.Event)
    names: dict[str, Name] = field(default_factory=dict)
    pushes: int = 0
    receipts: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.stopped.is_set():
            self.pushes += 1
            often = self.pushes % 2
            self.push(f"alice/often-{self.number}" if often else f"alice/once-{self.number}-{self.pushes}")

    def push(self, full_name: str) -> None:
        name = self.names.setdefault(full_name, Name())
        which = (self.pushes * PUSHERS + self.number) % len(STREAMS)
        name.unanswered.add(which)
        try:
            answer = self.wire.push(STREAMS[which], full_name)
        except (OSError, HTTPException):
            self.stopped.set()
            return
        if answer.http != 200:
            self.wrong.append(f"{answer.http} {answer.body[:300]!r}")
            return
        version = answer.json["data"]["receipt"]["version"]
        if version <= name.version:
            self.wrong.append(f"{full_name}: version {version} after {name.version}")
        name.received, name.version, name.unanswered = which, version, set()
        self.receipts += 1


def run_until_killed(hub: LiveHub, pushers: list[Pusher], *, receipts: int, then_s: float) -> None:
    """Kills the hub some time after it has given so many receipts, whatever it is doing then."""
    enough = sum(pusher.receipts for pusher in pushers) + receipts
    threads = [threading.Thread(target=pusher.run) for pusher in pushers]
    for pusher, thread in zip(pushers, threads, strict=True):
        pusher.stopped.clear()
        thread.start()
    give_up_at = time.monotonic() + GIVE_UP_S
    while sum(pusher.receipts for pusher in pushers) < enough and time.monotonic() < give_up_at:
        time.sleep(0.002)
    time.sleep(then_s)
    hub.kill()
    for thread in threads:
        thread.join()


def check(pusher: Pusher, names: set[str]) -> None:
    assert not pusher.wrong
    for full_name in sorted(names):
        name, answer = pusher.names[full_name], pusher.wire.pull(full_name)
        if answer.http == 404:
            assert name.received is None, f"{full_name}: version {name.version} got its receipt and is lost"
            continue
        assert answer.http == 200, answer.body
        pulled = documents_of(answer.body)
        possible = name.unanswered | ({name.received} - {None})
        assert any(pulled == DOCUMENTS[which] for which in possible), f"{full_name}: this was not the last push"


def test_no_receipt_is_lost_and_no_half_version_is_served(tmp_path: Path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  (pytest shows it when the test fails)
    chance = random.Random(seed)  # noqa: S311  (to be repeated, not to be secret)
    hub = LiveHub(tmp_path / "hub")
    hub.start()
    wire = Wire(hub.url, hub.add_user("alice"))
    pushers = [Pusher(number, wire) for number in range(PUSHERS)]
    try:
        for _ in range(KILLS):
            known = [set(pusher.names) for pusher in pushers]
            run_until_killed(hub, pushers, receipts=chance.randint(0, 6), then_s=chance.uniform(0, LARGEST_WAIT_S))
            hub.start()
            for pusher, before in zip(pushers, known, strict=True):
                check(pusher, {name for name in pusher.names if name not in before or "often" in name})
        for pusher in pushers:
            check(pusher, set(pusher.names))
    finally:
        hub.kill()
    assert sum(pusher.receipts for pusher in pushers) > KILLS
