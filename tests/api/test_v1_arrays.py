"""The native API's arrays: what each caller sees, and what owners change."""

from __future__ import annotations

import pytest

from palomar.contract.actions import Scope
from palomar.server.artifacts.models import Artifact
from palomar.server.namespaces.service import find_namespace, legacy_namespace
from palomar.server.wiring import Hub
from tests.api.native import Actor, World, array_of, make_world, same_refusal, token_with
from tests.factories.artifacts import make_artifact, make_version
from tests.fixtures.hubs import ClientFactory


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    world = await make_world(small_hub, client_factory)
    await world.alice.push("alice/open", array_of(1, 2, 3), metadata={"about": "numbers"})
    await world.alice.push("alice/hidden", array_of(4), is_public=False)
    return world


async def names(actor: Actor, query: str = "") -> list[str]:
    return [row["name"] for row in (await actor.get(f"/arrays{query}"))["arrays"]]


async def test_whoami(world: World) -> None:
    told = await world.alice.get("/whoami")
    assert (told["name"], told["credential"]) == ("alice", "token")
    assert set(told["scopes"]) == {"read", "write", "account"}
    assert (await world.nobody.call("GET", "/whoami", status=401)).json()["code"] == "credential-missing"


async def test_unknown_token_is_refused_and_no_anonymous_caller(world: World, client_factory: ClientFactory) -> None:
    impostor = Actor(client_factory(world.hub, headers={"Authorization": "Bearer nonsense"}))
    assert (await impostor.call("GET", "/arrays", status=401)).json()["code"] == "credential-invalid"


async def test_list_shows_own_and_public_arrays(world: World) -> None:
    assert await names(world.alice) == ["hidden", "open"]
    assert await names(world.bob) == ["open"]
    assert await names(world.nobody) == ["open"]


async def test_list_never_counts(world: World) -> None:
    assert set(await world.alice.get("/arrays")) == {"arrays", "next_cursor"}


async def test_list_filters(world: World) -> None:
    await world.bob.push("bob/Open_Too", array_of(9))
    assert await names(world.nobody, "?namespace=bob") == ["Open_Too"]
    assert await names(world.nobody, "?search=OPEN") == ["Open_Too", "open"]
    assert await names(world.nobody, "?search=%25") == []
    assert await names(world.nobody, "?kind=v2") == []
    assert await names(world.nobody, "?namespace=no%20such") == []
    assert await names(world.nobody, "?namespace=carol") == []


async def test_pages_are_disjoint_and_complete(world: World) -> None:
    for number in range(5):
        await world.bob.push(f"bob/a{number}", array_of(number))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await world.bob.get("/arrays", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        assert len(page["arrays"]) <= 2
        seen += [row["name"] for row in page["arrays"]]
        cursor = page["next_cursor"]
    assert seen == ["a4", "a3", "a2", "a1", "a0", "open"]


@pytest.mark.parametrize("cursor", ["x", "bnVsbA", "WyJ4IiwgInkiXQ", "é", "W1tbW1tb"])
async def test_cursor_that_no_page_gave_is_refused(world: World, cursor: str) -> None:
    answer = await world.alice.call("GET", "/arrays", params={"cursor": cursor}, status=400)
    assert answer.json()["fields"]["parameter"] == "cursor"


async def test_rows_of_one_instant_fall_on_one_page_each(world: World) -> None:
    async with world.hub.database.write() as session:
        namespace = await find_namespace(session, "bob")
        assert namespace is not None
        first = await make_artifact(session, namespace, "one")
        second = await make_artifact(session, namespace, "two")
        second.created_at = first.created_at
        for artifact in (first, second):
            await make_version(session, artifact)
    page = await world.bob.get("/arrays?limit=1&namespace=bob")
    rest = await world.bob.get("/arrays", params={"namespace": "bob", "cursor": page["next_cursor"]})
    assert {row["name"] for row in page["arrays"] + rest["arrays"]} == {"one", "two"}
    assert len(rest["arrays"]) == 1


async def test_detail(world: World) -> None:
    told = await world.nobody.get("/arrays/alice/open")
    assert told["metadata"] == {"about": "numbers"}
    assert (told["version"], told["documents"], told["kind"], told["visibility"]) == (1, 3, "v1", "public")
    assert told["digest"] == (await world.nobody.get("/arrays/alice/open/versions/1"))["digest"]


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/undelete"),
        ("GET", "/versions"),
        ("GET", "/versions/1"),
        ("GET", "/versions/1/manifest"),
        ("GET", "/versions/1/index"),
        ("GET", "/versions/1/chunks/" + "0" * 64),
        ("GET", "/versions/1/documents"),
        ("GET", "/versions/1/preview"),
        ("GET", "/versions/1/download"),
    ],
)
async def test_private_array_looks_absent(world: World, method: str, rest: str) -> None:
    options = {"json": {"visibility": "public"}} if method == "PATCH" else {}
    for actor in (world.bob, world.nobody):
        status = 401 if actor is world.nobody and method != "GET" else 404
        hidden = await actor.call(method, f"/arrays/alice/hidden{rest}", status=status, **options)
        absent = await actor.call(method, f"/arrays/alice/absent{rest}", status=status, **options)
        nowhere = await actor.call(method, f"/arrays/carol/absent{rest}", status=status, **options)
        assert same_refusal(hidden, absent, names=("alice/hidden", "alice/absent"))
        assert same_refusal(hidden, nowhere, names=("alice/hidden", "carol/absent"))


async def test_stranger_may_not_change_a_public_array(world: World) -> None:
    refusal = await world.bob.call("PATCH", "/arrays/alice/open", json={"visibility": "private"}, status=403)
    assert "alice/open" in refusal.json()["detail"]
    await world.bob.call("DELETE", "/arrays/alice/open", status=403)
    assert (await world.nobody.get("/arrays/alice/open"))["visibility"] == "public"


async def test_owner_changes_visibility_metadata_and_name(world: World) -> None:
    changes = {"visibility": "private", "metadata": {"a": 1}, "name": "Renamed"}
    told = await world.alice.call("PATCH", "/arrays/alice/open", json=changes)
    assert {key: told.json()[key] for key in changes} == changes
    await world.nobody.call("GET", "/arrays/alice/Renamed", status=404)
    await world.alice.call("GET", "/arrays/alice/open", status=404)
    assert (await world.alice.get("/arrays/alice/renamed"))["name"] == "Renamed"


async def test_name_that_is_taken_or_bad_is_refused(world: World) -> None:
    taken = await world.alice.call("PATCH", "/arrays/alice/open", json={"name": "HIDDEN"}, status=409)
    assert taken.json()["code"] == "name-taken"
    await world.alice.call("PATCH", "/arrays/alice/open", json={"name": "a b"}, status=400)
    await world.alice.call("PATCH", "/arrays/alice/open", json={"name": ""}, status=400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"unknown": 1}',
        b'{"metadata": {"a": NaN}}',
        rb'{"metadata": {"a": "\u0000"}}',
        rb'{"metadata": {"a": "\ud800"}}',
        b'{"metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b"\xff",
    ],
)
async def test_bad_bodies_are_refused_in_words(world: World, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await world.alice.call("PATCH", "/arrays/alice/open", content=body, headers=headers, status=400)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] in {"bad-parameter", "bad-request-body"}
    assert (await world.alice.get("/arrays/alice/open"))["metadata"] == {"about": "numbers"}


async def test_body_above_the_limit_is_refused(world: World) -> None:
    body = {"metadata": {"a": "x" * world.hub.settings.max_json_bytes}}
    answer = await world.alice.call("PATCH", "/arrays/alice/open", json=body, status=413)
    assert answer.json()["code"] == "too-large"


async def test_delete_and_undelete(world: World) -> None:
    await world.alice.call("DELETE", "/arrays/alice/open", status=204)
    await world.alice.call("GET", "/arrays/alice/open", status=404)
    deleted = await world.bob.call("POST", "/arrays/alice/open/undelete", status=404)
    absent = await world.bob.call("POST", "/arrays/alice/absent/undelete", status=404)
    assert same_refusal(deleted, absent, names=("alice/open", "alice/absent"))
    told = await world.alice.call("POST", "/arrays/alice/open/undelete")
    assert told.json()["documents"] == 3
    assert await names(world.nobody) == ["open"]
    await world.alice.call("POST", "/arrays/alice/open/undelete", status=404)


async def test_scopes_narrow(world: World, client_factory: ClientFactory) -> None:
    account_id = (await world.alice.get("/whoami"))["account_id"]

    async def actor_with(scope: Scope) -> Actor:
        token = await token_with(world.hub, account_id, scope)
        return Actor(client_factory(world.hub, headers={"Authorization": f"token {token}"}))

    reader, writer = await actor_with(Scope.READ), await actor_with(Scope.WRITE)
    await reader.call("PATCH", "/arrays/alice/hidden", json={}, status=403)
    await reader.call("POST", "/pushes", json={"name": "alice/x", "kind": "v1"}, status=403)
    await reader.call("GET", "/namespaces/alice", status=403)
    await writer.call("GET", "/arrays/alice/hidden", status=403)
    assert await names(writer) == []
    assert (await writer.push("alice/written", array_of(5)))["version"] == 1


async def test_old_unnamespaced_array_can_be_read_and_never_changed(world: World) -> None:
    async with world.hub.database.write() as session:
        namespace = await legacy_namespace(session)
        artifact = await make_artifact(session, namespace, "Old name")
        artifact.name_key = "Old name"
        await make_version(session, artifact)
    told = await world.nobody.get("/arrays/_/Old name")
    assert (told["namespace"], told["name"]) == (None, "Old name")
    assert await names(world.nobody, "?namespace=_") == ["Old name"]
    await world.alice.call("DELETE", "/arrays/_/Old name", status=403)
    await world.alice.call("GET", "/arrays/_legacy/Old name", status=404)


async def test_files_are_no_arrays(world: World) -> None:
    async with world.hub.database.write() as session:
        namespace = await find_namespace(session, "alice")
        assert namespace is not None
        session.add(Artifact(namespace_id=namespace.id, name="file", name_key="file", kind=None, visibility="public"))
    await world.alice.call("GET", "/arrays/alice/file", status=404)
    assert "file" not in await names(world.alice)


async def test_namespace_settings_are_their_owners(world: World) -> None:
    told = await world.alice.get("/namespaces/alice")
    assert (told["default_visibility"], told["visibility_ceiling"]) == ("public", "public")
    foreign = await world.bob.call("GET", "/namespaces/alice", status=404)
    absent = await world.bob.call("GET", "/namespaces/carol", status=404)
    assert same_refusal(foreign, absent, names=("alice", "carol"))
    await world.bob.call("PATCH", "/namespaces/alice", json={"visibility_ceiling": "private"}, status=404)
    await world.nobody.call("GET", "/namespaces/alice", status=401)


async def test_lowered_ceiling_hides_at_once(world: World) -> None:
    told = await world.alice.call("PATCH", "/namespaces/alice", json={"visibility_ceiling": "private"})
    assert told.json()["default_visibility"] == "private"
    await world.nobody.call("GET", "/arrays/alice/open", status=404)
    assert await names(world.nobody) == []
    receipt = await world.alice.push("alice/more", array_of(7), is_public=True)
    assert receipt["visibility"] == "private"
    await world.alice.call("PATCH", "/namespaces/alice", json={"visibility_ceiling": "public"})
    assert await names(world.nobody) == ["more", "open"]


async def test_tokens(world: World, client_factory: ClientFactory) -> None:
    made = await world.alice.call("POST", "/tokens", json={"name": "ci", "scopes": ["read"]}, status=201)
    reader = Actor(client_factory(world.hub, headers={"Authorization": f"Bearer {made.json()['token']}"}))
    assert (await reader.get("/whoami"))["scopes"] == ["read"]
    await reader.call("GET", "/tokens", status=403)
    listed = (await world.alice.get("/tokens"))["tokens"]
    row = next(row for row in listed if row["name"] == "ci")
    assert row["scopes"] == ["read"]
    assert made.json()["token"] not in str(listed)
    await world.bob.call("DELETE", f"/tokens/{row['id']}", status=404)
    await world.alice.call("DELETE", f"/tokens/{row['id']}", status=204)
    await reader.call("GET", "/whoami", status=401)


async def test_token_gives_no_scope_that_its_maker_lacks(world: World, client_factory: ClientFactory) -> None:
    account_id = (await world.alice.get("/whoami"))["account_id"]
    token = await token_with(world.hub, account_id, Scope.ACCOUNT)
    manager = Actor(client_factory(world.hub, headers={"Authorization": f"Bearer {token}"}))
    await manager.call("POST", "/tokens", json={"name": "more", "scopes": ["write"]}, status=403)
    await manager.call("POST", "/tokens", json={"name": "same"}, status=201)


async def test_unknown_path_and_method(world: World) -> None:
    answer = await world.alice.call("GET", "/nothing", status=404)
    assert answer.json()["code"] == "unknown-method"
    answer = await world.alice.call("PUT", "/arrays", status=405)
    assert answer.headers["allow"] == "GET"
    assert answer.headers["content-type"] == "application/problem+json"


async def test_openapi_document(world: World) -> None:
    told = await world.nobody.get("/openapi.json")
    assert told["servers"] == [{"url": "/api/v1"}]
    operations = [operation for path in told["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all("problem+json" in str(operation["responses"]["default"]) for operation in operations)
