"""Images with jina 3.34.0, unmodified, and podman behind Docker's API: built by a push, pulled, run in Flows.

Everything runs in one group: a machine that runs containers, a hub and two generations of clients is busy with one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fixtures.old_clients import OldClientFactory
from tests.fixtures.podman import Engine
from tools.debian_base import NAME
from tools.engine import EngineClient
from tools.live_hub import LiveHub
from tools.old_clients import ClientRun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("engine")]

# Works with the documents of either generation, whichever is installed beside it.
SOURCE = '''from jina import Executor, requests

try:
    from docarray import DocumentArray as Documents
except ImportError:
    from docarray import DocList
    from docarray.documents import TextDoc

    Documents = DocList[TextDoc]


class {name}(Executor):
    """Says a word."""

    @requests
    def say(self, docs: Documents, **kwargs) -> Documents:
        for document in docs:
            document.text += "{word}"
        return docs
'''
FLOWS = {
    "d021": """
import sys
from docarray import Document, DocumentArray
from jina import Flow

with Flow().add(uses=sys.argv[1]) as flow:
    print("SAID", flow.post("/", DocumentArray([Document(text="")]))[0].text)
""",
    "d038": """
import sys
from docarray import DocList
from docarray.documents import TextDoc
from jina import Flow

Texts = DocList[TextDoc]
with Flow().add(uses=sys.argv[1]) as flow:
    print("SAID", flow.post("/", Texts([TextDoc(text="")]), return_type=Texts)[0].text)
""",
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a machine of their own, with one generation of clients and an engine."""

    client: EngineClient
    generation: str
    hub: LiveHub
    token: str

    def command(self, name: str, *arguments: str) -> ClientRun:
        return self.client.command(name, *arguments, registry=self.hub.url, token=self.token, timeout_s=900)

    def does(self, *arguments: str) -> str:
        """What `jina hub ...` shows, in one line; it must end well."""
        done = self.command("jina", "hub", *arguments)
        shown = " ".join(f"{done.stdout} {done.stderr}".split())
        assert done.exit_code == 0, shown[-6000:]
        return shown

    def fails(self, *arguments: str) -> str:
        done = self.command("jina", "hub", *arguments)
        assert done.exit_code != 0, done.stdout[-3000:]
        return " ".join(f"{done.stdout} {done.stderr}"[-8000:].split())

    def flow(self, uses: str) -> str:
        """What a Flow with this Executor answers, before it is closed."""
        script = FLOWS[self.generation]
        done = self.client.run(script, uses, registry=self.hub.url, token=self.token, timeout_s=600)
        assert done.exit_code == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return next(line for line in done.stdout.splitlines() if line.startswith("SAID"))

    def writes(self, name: str, *, requirements: str = "") -> str:
        """The folder of an Executor that says its own name."""
        folder = self.client.home / name
        folder.mkdir(parents=True)
        (folder / "executor.py").write_text(SOURCE.format(name=name, word=name))
        (folder / "config.yml").write_text(f"jtype: {name}\npy_modules: [executor.py]\nmetas:\n  name: {name}\n")
        (folder / "requirements.txt").write_text(requirements)
        return name


PersonFactory = Callable[[str, str], Person]


@pytest.fixture(scope="module")
def image_hub(module_hub: LiveHub, debian_layout: Path) -> LiveHub:
    """A hub that builds images."""
    module_hub.admin("base-add", str(debian_layout), "--name", NAME, timeout_s=300)
    return module_hub


@pytest.fixture(scope="module")
def tokens(image_hub: LiveHub) -> dict[str, str]:
    return {name: image_hub.add_user(name) for name in ("alice", "bob")}


@pytest.fixture
def person(
    image_hub: LiveHub, old_client: OldClientFactory, engine: Engine, tokens: dict[str, str]
) -> Iterator[PersonFactory]:
    """``person("alice", "d021")``; every call is another machine, all with one engine."""

    def make(name: str, generation: str) -> Person:
        plain = old_client(generation)
        client = EngineClient(plain.python, plain.home, engine.docker_host)
        return Person(client, generation, image_hub, tokens[name])

    yield make
    assert engine.containers() == [], "a Flow that was closed left a container behind"


def host_of(hub: LiveHub) -> str:
    return urlsplit(hub.url).netloc


def image_named(shown: list[str], path: str) -> str:
    """The one image among these that has this path."""
    (image,) = (name for name in shown if name.partition("/")[2].startswith(f"{path}:"))
    return image


@pytest.mark.parametrize(("of_pusher", "of_other"), [("d021", "d038"), ("d038", "d021")])
def test_one_release_runs_in_flows_of_both_generations(
    person: PersonFactory, engine: Engine, of_pusher: str, of_other: str
):
    name = f"SaysHello{of_pusher.upper()}"
    uses, path = f"jinaai+docker://alice/{name}", f"alice/{name.lower()}"
    alice, bob, bob_elsewhere = person("alice", of_pusher), person("bob", of_pusher), person("bob", of_other)
    shown = alice.does("push", alice.writes(name), "--public", "--verbose")
    assert uses in shown
    assert "buildWorkspace: image" in shown, "the build's log is not shown"
    bob.does("pull", uses)
    pulled = image_named(engine.images(), path)
    assert pulled.startswith(f"{host_of(bob.hub)}/{path}:r1-")
    assert bob.flow(uses) == f"SAID {name}"
    assert image_named(engine.images(), path) == pulled, "the same client ran another image than it had pulled"
    assert bob_elsewhere.flow(uses) == f"SAID {name}"
    variants = [image for image in engine.images() if image.startswith(f"{host_of(bob.hub)}/{path}:r1-")]
    assert len(variants) == 2, "both generations ran one image, which speaks to one of them alone"


def test_a_failed_build_is_told_in_a_sentence_and_the_source_can_be_used(person: PersonFactory):
    alice, bob = person("alice", "d021"), person("bob", "d021")
    folder = alice.writes("Unbuildable", requirements="\npalomar-has-no-such-package==9.9\n")
    shown = alice.fails("push", folder, "--public")
    assert "palomar-has-no-such-package" in shown
    assert "line 2" in shown
    assert "jinaai://alice/Unbuildable" in shown
    assert "palomar-has-no-such-package" in bob.fails("pull", "jinaai+docker://alice/Unbuildable")
    # The client's own check comes after the source, which is there.
    assert "not all installed locally" in bob.fails("pull", "jinaai://alice/Unbuildable")
    assert list((bob.client.home / ".cache" / "jina" / "hub-package").glob("*/executor.py"))


def test_a_private_image_is_its_owners(person: PersonFactory, engine: Engine, tokens: dict[str, str]):
    alice, bob = person("alice", "d021"), person("bob", "d021")
    uses, host = "jinaai+docker://alice/Secretive", host_of(alice.hub)
    alice.does("push", alice.writes("Secretive"), "--private")
    assert "you may not see it" in bob.fails("pull", uses)
    set_credential_helper(alice, host)
    set_credential_helper(bob, host)
    alice.does("pull", uses)
    image = image_named(engine.images(), "alice/secretive")
    assert alice.flow(uses) == "SAID Secretive"
    engine.clear()
    assert not pulls(bob, image), "bob pulled alice's private image by its name"
    assert engine.run("podman", "pull", image).exit_code != 0, "nobody pulled alice's private image"
    for name, can_pull in (("bob", False), ("alice", True)):
        login(engine, host, name, tokens[name])
        assert (engine.run("podman", "pull", image).exit_code == 0) is can_pull
        engine.run("podman", "logout", host)


def set_credential_helper(person: Person, host: str) -> None:
    """As the hub's login does it for docker."""
    folder = person.client.home / ".docker"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"credHelpers": {host: "jina-hubble"}}))


def pulls(person: Person, image: str) -> bool:
    """Whether Docker's own client library gets it, asking the person's credential helper."""
    script = "import docker, sys; docker.from_env().images.pull(sys.argv[1])"
    return person.client.run(script, image, registry=person.hub.url, token=person.token).exit_code == 0


def login(engine: Engine, host: str, name: str, token: str) -> None:
    done = engine.run("podman", "login", "--username", name, "--password-stdin", host, stdin=token)
    assert done.exit_code == 0, done.stderr
