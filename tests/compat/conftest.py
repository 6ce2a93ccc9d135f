"""People with old clients, on a hub that the tests of a module share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from tests.compat.people import Person, PersonFactory
from tests.fixtures.old_clients import OldClientFactory
from tools.live_hub import LiveHub
from tools.old_clients import ClientRun, OldClient

CLIENT_SIDE = Path(__file__).parent / "client_side"


@dataclass(frozen=True, slots=True)
class Actor:
    """A person at a machine of their own, with one generation of clients.

    ``prelude`` is what all their scripts begin with.
    """

    client: OldClient
    registry: str
    token: str | None
    prelude: str

    def run(self, script: str, *arguments: str) -> ClientRun:
        whole = self.prelude + textwrap.dedent(script)
        return self.client.run(whole, *arguments, registry=self.registry, token=self.token)

    def do(self, script: str, *arguments: str) -> str:
        """What the script prints; it must end well."""
        done = self.run(script, *arguments)
        assert done.exit_code == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def fail(self, script: str, *arguments: str) -> str:
        """The last lines of what a person sees when the script fails, which it must."""
        done = self.run(script, *arguments)
        assert done.exit_code != 0, done.stdout[-3000:]
        # The client wraps and colours what it prints.
        return " ".join(done.stderr[-6000:].split())


ActorFactory = Callable[..., Actor]


@pytest.fixture(scope="module")
def tokens(module_hub: LiveHub) -> dict[str, str]:
    return {name: module_hub.add_user(name) for name in ("alice", "bob")}


@pytest.fixture
def actor(module_hub: LiveHub, old_client: OldClientFactory, tokens: dict[str, str]) -> ActorFactory:
    """``actor("alice", "d021")``; every call is another machine. ``None`` has no token."""

    def make(name: str | None, generation: str) -> Actor:
        token = None if name is None else tokens.get(name, name)
        return Actor(old_client(generation), module_hub.url, token, prelude(generation))

    return make


def prelude(generation: str) -> str:
    path = CLIENT_SIDE / f"{generation}.py"
    return path.read_text() + "\n" if path.exists() else ""


@pytest.fixture
def name() -> str:
    """Of an array that no other test uses. docarray 0.38 keeps a file of the name in /tmp, whoever runs it."""
    return f"array-{uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def own_names_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub whose operator lets a bare name mean the caller's own namespace."""
    hub = LiveHub(tmp_path_factory.mktemp("own-names"), PALOMAR_BARE_NAMES="own")
    hub.start()
    yield hub
    hub.kill()


@pytest.fixture
def person(live_hub: LiveHub, old_client: OldClientFactory) -> PersonFactory:
    """``person("alice")`` has an account, ``person(None)`` has none; every call is another machine."""
    tokens: dict[str, str] = {}

    def make(name: str | None) -> Person:
        if name is not None and name not in tokens:
            tokens[name] = live_hub.add_user(name)
        return Person(old_client("d021"), live_hub, tokens.get(name or ""))

    return make
