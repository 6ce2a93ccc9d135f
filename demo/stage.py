"""What the steps act on: a temporary hub, two people with real clients, and a folder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.debian_base import NAME, BaseMissing, base_layout
from tools.live_hub import LiveHub
from tools.old_clients import ClientRun, OldClient, environment

CLIENTS = Path(__file__).parent / "clients"
PASSWORD = "correct horse battery staple"  # noqa: S105  (of accounts that live as long as the demo)


class DemoFailed(Exception):
    """A step did not come out."""


@dataclass(slots=True)
class Person:
    """Somebody with docarray 0.21 and a home folder; ``token`` is set where they did not log in otherwise."""

    name: str
    client: OldClient
    hub: LiveHub
    token: str | None = None

    def run(self, script: str, *arguments: str) -> dict[str, Any]:
        """What a script of ``demo/clients`` reports; it must end well."""
        done = self.attempt(script, *arguments)
        if done.exit_code:
            raise DemoFailed(f"{self.name}'s {script} failed:\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}")
        report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return report

    def refused(self, script: str, *arguments: str, words: str) -> str:
        """The client's own last line of a script that the hub must refuse in these words."""
        done = self.attempt(script, *arguments)
        last = (done.stderr.strip().splitlines() or [""])[-1]
        if not done.exit_code:
            raise DemoFailed(f"{self.name}'s {script} {' '.join(arguments)} was not refused")
        if words not in last:
            raise DemoFailed(f"{self.name}'s {script} was refused in other words: {last}")
        return last.partition(" for url")[0]

    def attempt(self, script: str, *arguments: str) -> ClientRun:
        text = (CLIENTS / script).read_text()
        return self.client.run(text, *arguments, registry=self.hub.url, token=self.token)


@dataclass(slots=True)
class Stage:
    folder: Path
    hub: LiveHub
    alice: Person
    bob: Person
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def stored_bytes(self) -> int:
        """What the hub keeps on disk, beside its database."""
        files = (Path(place) / name for place, _, names in os.walk(self.hub.data / "blobs") for name in names)
        return sum(path.stat().st_size for path in files)


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """A running hub and two accounts; all gone again afterwards."""
    print("Preparing the real clients (docarray 0.21.0 in an environment of its own; the first time takes minutes)")
    python = environment("d021")
    hub = LiveHub(folder / "hub")
    alice, bob = (Person(name, OldClient(python, folder / name), hub) for name in ("alice", "bob"))
    try:
        hub.start()
        for person in (alice, bob):
            hub.admin("user-add", person.name, "--password-stdin", stdin=PASSWORD)
        yield Stage(folder, hub, alice, bob, {"base": _add_base(hub)})
    except (DemoFailed, subprocess.TimeoutExpired):
        print(f"\nThe end of the hub's log:\n{hub.log[-3000:]}")
        raise
    finally:
        hub.kill()


def _add_base(hub: LiveHub) -> Path | BaseMissing:
    """Images are built on it from here on; without it there are none, and why."""
    try:
        layout = base_layout()
    except BaseMissing as error:
        return error
    hub.admin("base-add", str(layout), "--name", NAME, timeout_s=300)
    return layout


def check(claim: bool, words: str) -> None:
    if not claim:
        raise DemoFailed(words)
