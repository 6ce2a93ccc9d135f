"""Executors: alice publishes a classifier, bob uses it in a Flow, and what is private or secret stays so."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from demo.stage import DemoFailed, Person, Stage, check
from demo.story import step

_SOURCE = Path(__file__).parent / "digit_classifier"
_NAME = "DigitClassifier"
_USES = f"jinaai://alice/{_NAME}"
_SECRET = "of-1999"  # noqa: S105  (of an Executor that lives as long as the demo)


@step("alice teaches a classifier every second digit and pushes it with jina hub push")
def alice_pushes_an_executor(stage: Stage) -> Iterator[str]:
    folder = stage.alice.client.home / _NAME
    shutil.copytree(_SOURCE, folder)
    known = stage.alice.run("learn_digits.py", "alice/digits", _NAME)["documents"]
    shown = _hub(stage.alice, "push", _NAME, "--public", "-t", "v1", "-t", "latest")
    check(f"{_USES}:v1" in shown, f"the client does not say {_USES}:v1")
    yield f"it knows {known} digits; published as {_USES}, with the tags v1 and latest"


@step("bob uses alice's Executor in a Flow, on the digits that it does not know")
def bob_uses_it(stage: Stage) -> Iterator[str]:
    report = stage.bob.run("classify_digits.py", "alice/digits", _USES)
    accuracy = report["right"] / report["documents"]
    for label, prediction in report["first"][:5]:
        yield f"a {label} was taken for a {prediction}"
    check(accuracy > 0.9, f"only {accuracy:.0%} were right")
    yield f"{report['right']} of {report['documents']} right: {accuracy:.1%}"


@step("bob sees nothing of alice's private Executor; she needs no secret for it")
def private_executor(stage: Stage) -> Iterator[str]:
    folder = stage.alice.client.home / "Draft"
    shutil.copytree(stage.alice.client.home / _NAME, folder)
    config = folder / "config.yml"
    config.write_text(config.read_text().replace(f"name: {_NAME}", "name: Draft"))
    _hub(stage.alice, "push", "Draft", "--private")
    hidden = _hub_refused(stage.bob, "pull", "jinaai://alice/Draft")
    absent = _hub_refused(stage.bob, "pull", "jinaai://alice/Never")
    check(hidden.replace("Draft", "Never") == absent, "a private Executor looks other than one that does not exist")
    yield f"bob: {hidden}"
    _hub(stage.alice, "pull", "jinaai://alice/Draft")
    yield "alice pulls jinaai://alice/Draft, just logged in"


@step("an old Executor that the operator brought along opens with its old secret")
def old_executor(stage: Stage) -> Iterator[str]:
    _import_old(stage)
    wrong = _hub_refused(stage.bob, "pull", "jinahub://OldClassifier:wrong")
    absent = _hub_refused(stage.bob, "pull", "jinahub://NewClassifier:wrong")
    check(wrong.replace("Old", "New") == absent, "a wrong secret looks other than an Executor that does not exist")
    yield f"with a wrong secret: {wrong}"
    _hub(stage.bob, "pull", f"jinahub://OldClassifier:{_SECRET}")
    yield "with the right one, bob pulls jinahub://OldClassifier:SECRET"


def _import_old(stage: Stage) -> None:
    folder = stage.folder / "legacy"
    (folder / "executors").mkdir(parents=True)
    with zipfile.ZipFile(folder / "executors" / "OldClassifier.zip", "w") as archive:
        for path in sorted((stage.alice.client.home / _NAME).iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    facts = {"secret": _SECRET, "tags": ["latest"], "public": False}
    (folder / "legacy.json").write_text(json.dumps({"executors": {"OldClassifier": facts}}))
    stage.hub.admin("import-legacy", str(folder))


def _hub(person: Person, *arguments: str) -> str:
    """What `jina hub ...` shows, as one line; it must end well."""
    exit_code, shown = _attempt(person, *arguments)
    if exit_code:
        raise DemoFailed(f"{person.name}'s jina hub {' '.join(arguments)} failed: {shown[-3000:]}")
    return shown


def _hub_refused(person: Person, *arguments: str) -> str:
    """The hub's sentence in what a `jina hub ...` shows that it must refuse."""
    exit_code, shown = _attempt(person, *arguments)
    begin = shown.rfind("There is no Executor")
    if not exit_code or begin < 0:
        raise DemoFailed(f"{person.name}'s jina hub {' '.join(arguments)} was not refused as it must: {shown[-3000:]}")
    return shown[begin:].partition(" not see it.")[0] + " not see it."


def _attempt(person: Person, *arguments: str) -> tuple[int, str]:
    registry, token = person.hub.url, person.token
    done = person.client.command("jina", "hub", *arguments, registry=registry, token=token, timeout_s=600)
    # The client wraps its lines to the width of a terminal.
    return done.exit_code, " ".join(f"{done.stdout} {done.stderr}".split())
