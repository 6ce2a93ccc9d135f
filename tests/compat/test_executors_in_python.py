"""Executors of the hub in Python code, as jina 3.34.0 offers them, and their requirements installed on the way."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.compat.people import Person, PersonFactory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FROM_HUB = """
from docarray import Document, DocumentArray
from jina import Executor

one = Executor.from_hub("jinaai://alice/MyExecutor")
docs = DocumentArray([Document(text="")])
one.say(docs)
print("SAID", docs[0].text)
"""
DEPLOYMENT = """
from docarray import Document, DocumentArray
from jina import Deployment

with Deployment(uses="jinaai://alice/MyExecutor") as one:
    print("SAID", one.post("/", DocumentArray([Document(text="")]))[0].text)
"""
# The clients are unmodified; this gives them a pip, as a usual environment has, that reaches no index.
WITH_PIP = """
import os, subprocess, sys

home, *command = sys.argv[1:]
places = {"PYTHONPATH": f"{home}/pip:{home}/installed", "PIP_TARGET": f"{home}/installed"}
offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"{home}/wheels", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
done = subprocess.run([sys.executable, *command], env={**os.environ, **places, **offline})
sys.exit(done.returncode)
"""
USES_GREETING = '''from docarray import DocumentArray
from jina import Executor, requests


class MyExecutor(Executor):
    """Says a word that a library knows."""

    @requests
    def say(self, docs: DocumentArray, **kwargs):
        import greeting

        for document in docs:
            document.text += greeting.WORD
'''


@pytest.mark.parametrize("script", [FROM_HUB, DEPLOYMENT], ids=["from-hub", "deployment"])
def test_used_from_python(person: PersonFactory, script: str):
    alice, bob = person("alice"), person("bob")
    alice.does("push", alice.writes("hello"))
    done = bob.client.run(script, registry=bob.hub.url, token=bob.token, timeout_s=900)
    assert "SAID hello" in done.stdout, done.stderr[-6000:]


def test_requirements_are_installed_when_asked_for(person: PersonFactory):
    alice, bob = person("alice"), person("bob")
    folder = alice.writes("hello")
    (alice.client.home / folder / "executor.py").write_text(USES_GREETING)
    (alice.client.home / folder / "requirements.txt").write_text("greeting==1.2\n")
    alice.does("push", folder)

    missing = bob.fails("pull", "jinaai://alice/MyExecutor")
    assert "--install-requirements" in missing
    give_pip(bob)
    pulled = with_pip(bob, "-m", "jina", "hub", "pull", "jinaai://alice/MyExecutor", "--install-requirements")
    assert "Successfully installed greeting-1.2" in pulled
    assert "SAID from the library" in with_pip(bob, "-c", FROM_HUB)


def with_pip(one: Person, *command: str) -> str:
    home = str(one.client.home)
    done = one.client.run(WITH_PIP, home, *command, registry=one.hub.url, token=one.token, timeout_s=900)
    shown = " ".join(f"{done.stdout} {done.stderr}".split())
    assert done.exit_code == 0, shown[-6000:]
    return shown


def give_pip(one: Person) -> None:
    wheels = one.client.home / "wheels"
    wheels.mkdir()
    write_wheel(wheels / "greeting-1.2-py3-none-any.whl")
    uv = Path(sys.executable).parent / "uv"
    install = [str(uv), "pip", "install", "--quiet", "--python", str(one.client.python), "--target"]
    subprocess.run([*install, str(one.client.home / "pip"), "pip"], check=True, capture_output=True)


def write_wheel(path: Path) -> None:
    """A library with nothing in it but a word."""
    files = {
        "greeting.py": 'WORD = "from the library"\n',
        "greeting-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.2\n",
        "greeting-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, "greeting-1.2.dist-info/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, "greeting-1.2.dist-info/RECORD": record}.items():
            archive.writestr(name, text)
