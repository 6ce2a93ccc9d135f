"""Names without a namespace: docarray 0.18, which knows no others, and the habits of the later ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compat.conftest import Actor, prelude
from tests.fixtures.old_clients import OldClientFactory
from tests.unit.documents.streams import document, stream
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PeopleOf = Callable[[LiveHub, str, str], Actor]


@pytest.fixture
def person(old_client: OldClientFactory, own_tokens: dict[str, str], tokens: dict[str, str], module_hub: LiveHub):
    def make(hub: LiveHub, name: str, generation: str) -> Actor:
        token = (tokens if hub is module_hub else own_tokens)[name]
        return Actor(old_client(generation), hub.url, token, prelude(generation))

    return make


@pytest.fixture(scope="module")
def own_tokens(own_names_hub: LiveHub) -> dict[str, str]:
    return {name: own_names_hub.add_user(name) for name in ("alice", "bob")}


def import_array(hub: LiveHub, folder: Path, name: str, *, documents: int = 3, **facts: object) -> None:
    """As an operator brings in what was pushed before there were namespaces."""
    (folder / "arrays").mkdir(parents=True)
    (folder / "arrays" / f"{name}.da").write_bytes(stream([document(i) for i in range(documents)]))
    (folder / "legacy.json").write_text(json.dumps({"arrays": {name: facts}}))
    hub.admin("import-legacy", str(folder))


@pytest.mark.parametrize("generation", ["d018", "d021"])
def test_an_old_array_is_pulled_by_its_old_name(
    person: PeopleOf, module_hub: LiveHub, tmp_path: Path, name: str, generation: str
):
    import_array(module_hub, tmp_path / "old", name)
    person(module_hub, "alice", generation).do(
        "assert DocumentArray.pull(sys.argv[1])[:, 'id'] == ['document-0', 'document-1', 'document-2']", name
    )


@pytest.mark.parametrize("generation", ["d018", "d021"])
def test_an_old_array_is_never_updated(
    person: PeopleOf, module_hub: LiveHub, tmp_path: Path, name: str, generation: str
):
    import_array(module_hub, tmp_path / "old", name)
    alice = person(module_hub, "alice", generation)
    told = alice.fail("texts('new').push(sys.argv[1])", name)
    assert f"can be pulled and never updated. New pushes must say 'namespace/name': push to 'alice/{name}'" in told
    alice.do("assert len(DocumentArray.pull(sys.argv[1])) == 3", name)


def test_a_private_old_array_is_its_owners_alone(person: PeopleOf, module_hub: LiveHub, tmp_path: Path, name: str):
    import_array(module_hub, tmp_path / "old", name, public=False, owner="alice")
    person(module_hub, "alice", "d018").do("assert len(DocumentArray.pull(sys.argv[1])) == 3", name)
    assert "404" in person(module_hub, "bob", "d018").fail("DocumentArray.pull(sys.argv[1])", name)


def test_docarray_018_is_told_the_new_scheme(person: PeopleOf, module_hub: LiveHub, name: str):
    told = person(module_hub, "alice", "d018").fail("texts('a').push(sys.argv[1])", name)
    assert f"New pushes must say 'namespace/name': push to 'alice/{name}'" in told


def test_docarray_018_pulls_and_lists_what_has_a_namespace(person: PeopleOf, module_hub: LiveHub, name: str):
    person(module_hub, "alice", "d021").do("texts('a').push(sys.argv[1])", f"alice/{name}")
    person(module_hub, "alice", "d018").do(
        """
        assert DocumentArray.pull(sys.argv[1], local_cache=False).texts == ["a"]
        assert sys.argv[1] in DocumentArray.cloud_list(show_table=True)
        DocumentArray.cloud_delete(sys.argv[1])
        assert sys.argv[1] not in DocumentArray.cloud_list()
        """,
        f"alice/{name}",
    )


@pytest.mark.parametrize("generation", ["d018", "d021"])
def test_where_the_operator_allows_it_old_habits_work(
    person: PeopleOf, own_names_hub: LiveHub, name: str, generation: str
):
    person(own_names_hub, "alice", generation).do(
        """
        name = sys.argv[1]
        texts("a", "b").push(name)
        assert DocumentArray.pull(name).texts == ["a", "b"]
        texts("c", "d").push(name)
        assert DocumentArray.pull(name).texts == ["c", "d"]
        assert DocumentArray.pull(f"alice/{name}", local_cache=False).texts == ["c", "d"]
        assert name in DocumentArray.cloud_list(), "a list echoes the name as it was pushed"
        DocumentArray.cloud_delete(name)
        assert name not in DocumentArray.cloud_list()
        """,
        name,
    )


def test_where_the_operator_allows_it_docarray_038_keeps_its_habits(
    person: PeopleOf, own_names_hub: LiveHub, name: str
):
    person(own_names_hub, "alice", "d038").do(
        """
        name = sys.argv[1]
        same_after_a_trip(words("a", "b"), name)
        assert name in JACDocStore.list()
        assert JACDocStore.delete(name) is True
        assert name not in JACDocStore.list()
        """,
        name,
    )


def test_a_bare_name_is_each_persons_own(person: PeopleOf, own_names_hub: LiveHub, name: str):
    for who in ("alice", "bob"):
        person(own_names_hub, who, "d021").do("texts(sys.argv[2]).push(sys.argv[1])", name, f"of {who}")
    for who in ("alice", "bob"):
        person(own_names_hub, who, "d021").do(
            "assert DocumentArray.pull(sys.argv[1]).texts == [sys.argv[2]]", name, f"of {who}"
        )


def test_an_old_array_wins_over_ones_own(person: PeopleOf, own_names_hub: LiveHub, tmp_path: Path, name: str):
    alice = person(own_names_hub, "alice", "d021")
    alice.do("texts('own').push(sys.argv[1])", name)
    import_array(own_names_hub, tmp_path / "old", name)
    alice.do("assert len(DocumentArray.pull(sys.argv[1])) == 3", name)
    alice.do("assert DocumentArray.pull(sys.argv[1]).texts == ['own']", f"alice/{name}")
    assert "never updated" in alice.fail("texts('new').push(sys.argv[1])", name)
