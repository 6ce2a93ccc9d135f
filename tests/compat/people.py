"""People at machines of their own, who use jina 3.34.0 and jina-hubble-sdk 0.39, unmodified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tools.live_hub import LiveHub
from tools.old_clients import ClientRun, OldClient

SOURCE = '''from docarray import DocumentArray
from jina import Executor, requests


class MyExecutor(Executor):
    """Says a word."""

    @requests
    def say(self, docs: DocumentArray, **kwargs):
        for document in docs:
            document.text += "{word} "
'''
FLOW = """
import sys
from docarray import Document, DocumentArray
from jina import Flow

if sys.argv[1].endswith(".yml"):
    flow = Flow.load_config(sys.argv[1])
else:
    flow = Flow()
    for uses in sys.argv[1:]:
        flow = flow.add(uses=uses)
with flow:
    print("SAID", flow.post("/", DocumentArray([Document(text="")]))[0].text)
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a machine of their own."""

    client: OldClient
    hub: LiveHub
    token: str | None

    def jina(self, *arguments: str) -> ClientRun:
        return self.client.command("jina", "hub", *arguments, registry=self.hub.url, token=self.token, timeout_s=900)

    def does(self, *arguments: str) -> str:
        """What the command shows, in one line and without colours' wrapping; it must end well."""
        done = self.jina(*arguments)
        shown = " ".join(f"{done.stdout} {done.stderr}".split())
        assert done.exit_code == 0, shown[-6000:]
        return shown

    def fails(self, *arguments: str) -> str:
        done = self.jina(*arguments)
        assert done.exit_code != 0, done.stdout[-3000:]
        return " ".join(f"{done.stdout} {done.stderr}"[-8000:].split())

    def flow(self, *arguments: str) -> str:
        """What the Flow says."""
        done = self.client.run(FLOW, *arguments, registry=self.hub.url, token=self.token, timeout_s=900)
        assert done.exit_code == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
        return next(line for line in done.stdout.splitlines() if line.startswith("SAID"))

    def writes(self, word: str, name: str = "MyExecutor") -> str:
        """The folder of an Executor that says a word."""
        folder = self.client.home / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files_of(name, word).items():
            (folder / file).write_text(text)
        return name

    @property
    def pulled(self) -> list[str]:
        """The sources in the client's cache."""
        return [path.read_text() for path in (self.client.home / ".cache/jina/hub-package").glob("*/executor.py")]


def files_of(name: str, word: str) -> dict[str, str]:
    config = f"jtype: MyExecutor\npy_modules: [executor.py]\nmetas:\n  name: {name}\n"
    return {"executor.py": SOURCE.format(word=word), "config.yml": config, "requirements.txt": ""}


PersonFactory = Callable[..., Person]
