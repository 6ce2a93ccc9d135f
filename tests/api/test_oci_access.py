"""Who may do what in the registry: no status, header or body tells a private repository from one that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from palomar.contract.actions import Visibility
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.registry.models import Repository
from palomar.server.wiring import Hub
from tests.api.oci import ABSENT_DIGEST, Image, People, Registry, basic, bearer, challenge_of, codes_of, sha256
from tests.fixtures.hubs import ClientFactory

HIDDEN, ABSENT = "alice/hidden", "alice/absent"
IMAGE = Image("hidden")
LAYER = sha256(IMAGE.blobs[1])
ZEROES = "0" * 32
# What differs from answer to answer, whatever was asked.
_OF_THE_REQUEST = {"x-request-id", "docker-upload-uuid", "location"}

ROUTES = {
    "get a manifest by tag": ("GET", "manifests/latest"),
    "get a manifest by digest": ("GET", f"manifests/{IMAGE.digest}"),
    "get a manifest that is none": ("GET", "manifests/-bad"),
    "head a manifest": ("HEAD", "manifests/latest"),
    "head a manifest by digest": ("HEAD", f"manifests/{IMAGE.digest}"),
    "put a manifest": ("PUT", "manifests/latest"),
    "put a manifest by digest": ("PUT", f"manifests/{IMAGE.digest}"),
    "delete a tag": ("DELETE", "manifests/latest"),
    "delete a manifest": ("DELETE", f"manifests/{IMAGE.digest}"),
    "get a blob": ("GET", f"blobs/{LAYER}"),
    "get a blob that is none": ("GET", "blobs/sha256:bad"),
    "get an unknown blob": ("GET", f"blobs/{ABSENT_DIGEST}"),
    "head a blob": ("HEAD", f"blobs/{LAYER}"),
    "delete a blob": ("DELETE", f"blobs/{LAYER}"),
    "start an upload": ("POST", "blobs/uploads/"),
    "post a blob": ("POST", f"blobs/uploads/?digest={sha256(IMAGE.manifest)}"),
    "mount into it": ("POST", f"blobs/uploads/?mount={LAYER}&from=alice/other"),
    "mount into it from nowhere": ("POST", f"blobs/uploads/?mount={LAYER}"),
    "look at an upload": ("GET", f"blobs/uploads/{ZEROES}"),
    "send a chunk": ("PATCH", f"blobs/uploads/{ZEROES}"),
    "finish an upload": ("PUT", f"blobs/uploads/{ZEROES}?digest={sha256(IMAGE.manifest)}"),
    "cancel an upload": ("DELETE", f"blobs/uploads/{ZEROES}"),
    "list tags": ("GET", "tags/list"),
    "list referrers": ("GET", f"referrers/{IMAGE.digest}"),
    "list referrers of what is none": ("GET", "referrers/nonsense"),
}
PUSHES = {"POST", "PUT", "PATCH"}
CALLERS = ("nobody", "nobody with a token", "stranger", "stranger by Basic", "stranger with a token")

every_route = pytest.mark.parametrize("route", ROUTES)


@pytest.fixture
async def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    """Alice has a private repository and a public one."""
    people = People(small_hub, client_factory)
    alice = await people.registry("alice", HIDDEN)
    await alice.push(IMAGE, "latest")
    await make_private(small_hub, "hidden")
    await alice.at("alice/shown").push(Image("shown"), "latest")
    return people


async def make_private(hub: Hub, path: str) -> None:
    async with hub.database.write() as session:
        named = update(Repository).where(Repository.path == path)
        await session.execute(named.values(visibility=Visibility.PRIVATE))


async def caller(people: People, who: str, repository: str) -> Registry:
    stranger = await people.token("bob")
    if who == "stranger":
        return people.with_headers(bearer(stranger), repository)
    if who == "stranger by Basic":
        return people.with_headers(basic("alice", stranger), repository)
    if who == "nobody":
        return people.with_headers({}, repository)
    credential = basic("x", stranger) if who.startswith("stranger") else {}
    client = people.client_factory(people.hub)
    fetched = await client.get("/v2/token", params={"scope": f"repository:{repository}:*"}, headers=credential)
    return people.with_headers(bearer(fetched.json()["token"]), repository)


async def answer(registry: Registry, route: str) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, with the name that was asked for put alike."""
    method, path = ROUTES[route]
    content = IMAGE.manifest if method in PUSHES else None
    response = await registry.client.request(method, registry.path(path), content=content)
    headers = {
        name: value.replace(registry.name, "NAME")
        for name, value in response.headers.items()
        if name not in _OF_THE_REQUEST
    }
    return response.status_code, headers, response.text.replace(registry.name, "NAME")


@every_route
@pytest.mark.parametrize("who", CALLERS)
async def test_private_and_absent_are_one_answer(people: People, who: str, route: str):
    hidden = await answer(await caller(people, who, HIDDEN), route)
    absent = await answer(await caller(people, who, ABSENT), route)
    assert hidden == absent
    method, path = ROUTES[route]
    is_push = method in PUSHES or "uploads" in path
    assert hidden[0] == (401 if who.startswith("nobody") else 403 if is_push else 404)


@every_route
async def test_nobody_is_challenged_for_what_the_call_needs(people: People, route: str):
    method, path = ROUTES[route]
    nobody = await caller(people, "nobody", HIDDEN)
    response = await nobody.client.request(method, nobody.path(path), content=b"x" if method in PUSHES else None)
    challenge = challenge_of(response)
    actions = "pull,push" if method in PUSHES or "uploads" in path else "delete" if method == "DELETE" else "pull"
    assert challenge["realm"] == "http://hub.test/v2/token"
    assert challenge["service"] == "hub.test"
    expected = f"repository:{HIDDEN}:{actions}"
    if "from=" in path:
        expected += " repository:alice/other:pull"
    assert challenge["scope"] == expected
    assert "error" not in challenge


@every_route
async def test_its_owner_gets_through(people: People, route: str):
    status, _, _ = await answer(await people.registry("alice", HIDDEN), route)
    assert status not in {401, 403}


@pytest.mark.parametrize("who", CALLERS)
async def test_what_is_public_is_read_by_everybody_and_changed_by_its_owner(people: People, who: str):
    registry = await caller(people, who, "alice/shown")
    for path in (
        "manifests/latest",
        "tags/list",
        f"referrers/{ABSENT_DIGEST}",
        f"blobs/{sha256(Image('shown').blobs[0])}",
    ):
        await registry.get(path)
        await registry.call("HEAD", path, status=200)
    await registry.call("GET", f"blobs/{LAYER}", status=404, code="BLOB_UNKNOWN")
    refused = 401 if who.startswith("nobody") else 403
    for method, path in (("DELETE", "manifests/latest"), ("PUT", "manifests/latest"), ("POST", "blobs/uploads/")):
        response = await registry.client.request(method, registry.path(path))
        assert response.status_code == refused
        assert codes_of(response) == ["UNAUTHORIZED" if refused == 401 else "DENIED"]


async def test_a_known_digest_of_a_private_blob_is_neither_read_nor_mounted_elsewhere(people: People):
    bob = await people.registry("bob", "bob/copy")
    await bob.push_blob(b"so that it is there")
    for method in ("GET", "HEAD"):
        await bob.call(method, f"blobs/{LAYER}", status=404, code="BLOB_UNKNOWN")
    answers = []
    for query in (f"?mount={LAYER}&from={HIDDEN}", f"?mount={ABSENT_DIGEST}&from={ABSENT}", f"?mount={LAYER}"):
        response = await bob.call("POST", f"blobs/uploads/{query}", status=202)
        answers.append({key: value for key, value in response.headers.items() if key not in _OF_THE_REQUEST})
    assert answers[0] == answers[1] == answers[2]
    assert "docker-content-digest" not in answers[0]
    manifest = Image("hidden").manifest
    assert set(codes_of(await bob.put("stolen", manifest, status=400))) == {"MANIFEST_BLOB_UNKNOWN"}


async def test_the_catalogue_hides_what_is_hidden(people: People):
    for who, expected in (
        ("alice", ["alice/hidden", "alice/shown"]),
        ("bob", ["alice/shown"]),
    ):
        registry = await people.registry(who)
        assert (await registry.get("/v2/_catalog")).json()["repositories"] == expected


async def test_a_ceiling_that_is_lowered_hides_a_repository_at_once(people: People):
    """Also from a token that was given before."""
    bob = await caller(people, "stranger with a token", "alice/shown")
    nobody = await caller(people, "nobody", "alice/shown")
    await bob.get("manifests/latest")
    async with people.hub.database.write() as session:
        mine = update(NamespaceRow).where(NamespaceRow.name == "alice")
        await session.execute(mine.values(visibility_ceiling=Visibility.PRIVATE))
    await bob.call("GET", "manifests/latest", status=404, code="NAME_UNKNOWN")
    await nobody.call("GET", "manifests/latest", status=401, code="UNAUTHORIZED")


async def test_oras_is_told_with_403_that_it_needs_another_token(people: People):
    """Its Python client answers a 401 with the token that it has; every other one fetches a token after a 401."""
    credential = basic("x", await people.token("alice"))
    for agent, status in (("oras-py", 403), ("skopeo/1.9.3", 401)):
        client = people.client_factory(people.hub, headers={"User-Agent": agent})
        asked = {"scope": "repository:alice/shown:pull"}
        fetched = await client.get("/v2/token", params=asked, headers=credential)
        narrow = people.with_headers(bearer(fetched.json()["token"]), "alice/shown")
        refused = await narrow.call("POST", "blobs/uploads/", status=status, code="UNAUTHORIZED")
        assert challenge_of(refused)["error"] == "insufficient_scope"
        assert challenge_of(refused)["scope"] == "repository:alice/shown:pull,push"


# --- refused before the body is read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "manifests/latest"),
        ("POST", f"blobs/uploads/?digest={LAYER}"),
        ("PATCH", f"blobs/uploads/{ZEROES}"),
        ("PUT", f"blobs/uploads/{ZEROES}?digest={LAYER}"),
    ],
)
@pytest.mark.parametrize("who", ["nobody", "stranger", "wrong token"])
async def test_a_refusal_comes_before_the_body_is_read(people: People, who: str, method: str, path: str):
    registry = await caller(people, "nobody" if who == "wrong token" else who, HIDDEN)
    headers = bearer("plm_wrong") if who == "wrong token" else {}
    response = await registry.client.request(method, registry.path(path), content=unread(), headers=headers)
    assert response.status_code == (403 if who == "stranger" else 401)


@pytest.mark.parametrize(
    ("path", "status"), [("manifests/latest", 413), (f"blobs/uploads/{ZEROES}?digest={LAYER}", 404)]
)
async def test_what_cannot_be_accepted_is_refused_before_the_body_is_read(people: People, path: str, status: int):
    alice = await people.registry("alice", HIDDEN)
    headers = {"Content-Length": str(5 * 1024 * 1024)}
    await alice.call("PUT", path, status=status, content=unread(), headers=headers)


async def unread() -> AsyncIterator[bytes]:
    pytest.fail("the body was read")
    yield b""


# --- no test about nothing -----------------------------------------------------------------------------------------


def test_every_repository_route_of_the_registry_is_asked_here() -> None:
    from palomar.server.web import oci

    asked: set[tuple[str, str]] = set()
    for method, path in ROUTES.values():
        route: Any = next(
            route
            for route in oci.routes()
            if "{name:path}" in route.path and route.path_regex.match(f"/v2/a/b/{path.partition('?')[0]}")
        )
        asked.add(("GET" if method == "HEAD" else method, route.path))
    there = {
        (method, route.path)
        for route in oci.routes()
        if "{name:path}" in route.path and not route.path.endswith("/uploads")
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert there - asked == set()
