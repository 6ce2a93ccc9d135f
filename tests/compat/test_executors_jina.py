"""Executors with jina 3.34.0 and jina-hubble-sdk 0.39, unmodified: `jina hub ...` and Flows."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.compat.people import PersonFactory, files_of
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def requests_of(hub: LiveHub) -> int:
    return hub.log.count("/v2/rpc/") + hub.log.count("/download/")


def test_new_push_status_pull_list(person: PersonFactory):
    alice, bob = person("alice"), person("bob")
    about = ("--dockerfile", "cpu", "--description", "Says hello", "--keywords", "hello", "--url", "http://127.0.0.1/")
    alice.does("new", "--name", "MyExecutor", "--path", "MyExecutor", "--advance-configuration", *about)
    options = ("--public", "-t", "v1", "-t", "latest", "--protected-tag", "v1.0", "--build-env", "MY_KEY=hidden-value")
    shown = alice.does("push", "MyExecutor", *options, "--verbose")
    assert "jinaai://alice/MyExecutor:v1" in shown
    assert "public" in shown
    assert "jinahub" not in shown
    assert "jinaai://alice/MyExecutor:" in alice.does("status", "MyExecutor")
    assert "extractZip: progress MyExecutor in" in alice.does("status", "MyExecutor", "--replay", "--verbose")
    assert "v1.0" in alice.fails("push", "MyExecutor", "--protected-tag", "v1.0")
    # The client tells who pulls it to set the variable: its value is not the hub's to give.
    assert "MY_KEY" in bob.does("pull", "jinaai://alice/MyExecutor:v1")
    alice.does("push", "MyExecutor")
    bob.does("pull", "jinaai://alice/MyExecutor")
    assert "MyExecutor" in bob.does("list")
    assert "hidden-value" not in alice.hub.log


def test_a_package_without_an_executor_is_refused_in_readable_words(person: PersonFactory):
    alice = person("alice")
    folder = alice.writes("hello")
    (alice.client.home / folder / "executor.py").write_text("answer = 42\n")
    shown = alice.fails("push", folder)
    assert "can not discover any Executor in your uploaded bundle" in shown
    assert "MyExecutor" in shown


def test_private_is_its_owners_without_a_secret(person: PersonFactory):
    alice, bob = person("alice"), person("bob")
    folder = alice.writes("first")
    assert "private" in alice.does("push", folder, "--private")
    hidden = bob.fails("pull", "jinaai://alice/MyExecutor")
    absent = bob.fails("pull", "jinaai://alice/YoExecutor")
    assert "you may not see it" in hidden
    assert "you may not see it" in absent
    assert bob.pulled == []
    elsewhere = person("alice")
    elsewhere.does("pull", "jinaai://alice/MyExecutor")
    assert "first" in elsewhere.pulled[0]
    alice.writes("second")
    assert "private" in alice.does("push", folder, "--force-update", "MyExecutor", "--secret", "any")
    elsewhere.does("pull", "jinaai://alice/MyExecutor", "--force")
    assert "second" in elsewhere.pulled[0]


def test_moved_tag_gets_the_new_release_when_it_is_asked_for(person: PersonFactory):
    alice, bob = person("alice"), person("bob")
    folder = alice.writes("first")
    alice.does("push", folder, "-t", "v1")
    bob.does("pull", "jinaai://alice/MyExecutor:v1")
    alice.writes("second")
    alice.does("push", folder, "-t", "v1")
    before = requests_of(bob.hub)
    bob.does("pull", "jinaai://alice/MyExecutor:v1")
    assert requests_of(bob.hub) == before
    assert "first" in bob.pulled[0]
    bob.does("pull", "jinaai://alice/MyExecutor:v1", "--force")
    assert "second" in bob.pulled[0]


def test_flow_of_two_peoples_executors_of_one_name(person: PersonFactory):
    alice, bob, carol = person("alice"), person("bob"), person("carol")
    alice.does("push", alice.writes("from-alice"))
    bob.does("push", bob.writes("from-bob"))
    uses = ("jinaai://alice/MyExecutor", "jinaai://bob/MyExecutor:latest")
    assert carol.flow(*uses) == "SAID from-alice from-bob "
    executors = "".join(f"  - uses: {one}\n" for one in uses)
    (carol.client.home / "flow.yml").write_text(f"jtype: Flow\nexecutors:\n{executors}")
    before = requests_of(carol.hub)
    assert carol.flow("flow.yml") == "SAID from-alice from-bob "
    assert requests_of(carol.hub) == before, "the second run asked the hub although all was in the client's cache"


def test_old_executor_by_its_old_name_and_secret(person: PersonFactory, live_hub: LiveHub, tmp_path: Path):
    nobody = person(None)
    import_executor(live_hub, tmp_path / "old", "Encoder", secret="s3cret")
    wrong = nobody.fails("pull", "jinahub://Encoder:wrong")
    absent = nobody.fails("pull", "jinahub://Decoder:wrong")
    assert "you may not see it" in wrong
    assert "you may not see it" in absent
    nobody.does("pull", "jinahub://Encoder:s3cret/v1")
    assert "of old" in nobody.pulled[0]


def import_executor(hub: LiveHub, folder: Path, name: str, *, secret: str) -> None:
    """As an operator brings in what was pushed before there were namespaces."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file, text in files_of(name, "of old").items():
            archive.writestr(file, text)
    (folder / "executors").mkdir(parents=True)
    (folder / "executors" / f"{name}.zip").write_bytes(buffer.getvalue())
    facts = {"secret": secret, "tags": ["v1", "latest"], "public": False}
    (folder / "legacy.json").write_text(json.dumps({"executors": {name: facts}}))
    hub.admin("import-legacy", str(folder))
