"""Paths, methods and names of the registry, and what lives beside it below ``/v2/``."""

from __future__ import annotations

import pytest

from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.api.oci import ABSENT_DIGEST, Image, People, Registry, challenge_of, codes_of
from tests.fixtures.hubs import ClientFactory


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
async def alice(people: People) -> Registry:
    return await people.registry("alice")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_api_asks_for_a_login_so_that_docker_login_works(people: People, method: str):
    nobody = await people.registry(None)
    response = await nobody.call(method, "/v2/", status=401, code="UNAUTHORIZED")
    assert challenge_of(response) == {"realm": "http://hub.test/v2/token", "service": "hub.test"}
    assert response.headers["docker-distribution-api-version"] == "registry/2.0"
    if method == "HEAD":
        assert response.content == b""


async def test_the_challenge_names_the_hub_as_the_operator_does(
    small_hub: Hub, client_factory: ClientFactory, settings: Settings
):
    public = settings.model_copy(update={"public_url": "https://images.example.org:8443"})
    object.__setattr__(small_hub, "settings", public)
    response = await client_factory(small_hub).get("/v2/")
    assert challenge_of(response) == {
        "realm": "https://images.example.org:8443/v2/token",
        "service": "images.example.org:8443",
    }


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", {"GET", "HEAD"}),
        ("DELETE", "/v2/token", {"GET", "HEAD", "POST"}),
        ("POST", "/v2/_catalog", {"GET", "HEAD"}),
        ("POST", "/v2/alice/birds/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PATCH", "/v2/alice/birds/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
        ("PUT", f"/v2/alice/birds/blobs/{ABSENT_DIGEST}", {"GET", "HEAD", "DELETE"}),
        ("GET", "/v2/alice/birds/blobs/uploads/", {"POST"}),
        ("POST", f"/v2/alice/birds/blobs/uploads/{'0' * 32}", {"GET", "HEAD", "PATCH", "PUT", "DELETE"}),
        ("DELETE", "/v2/alice/birds/tags/list", {"GET", "HEAD"}),
        ("PUT", f"/v2/alice/birds/referrers/{ABSENT_DIGEST}", {"GET", "HEAD"}),
        ("OPTIONS", "/v2/alice/birds/manifests/latest", {"GET", "HEAD", "PUT", "DELETE"}),
    ],
)
async def test_405_for_a_method_that_is_none_and_says_which_are(
    alice: Registry, method: str, path: str, allowed: set[str]
):
    response = await alice.call(method, path, status=405, code="UNSUPPORTED")
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/v2/absent",
        "/v2/alice/birds",
        "/v2/alice/birds/",
        "/v2/alice/birds/manifests",
        "/v2/alice/birds/manifests/",
        "/v2/alice/birds/blobs/",
        "/v2/alice/birds/tags",
        "/v2/alice/birds/tags/all",
        "/v2/alice/birds/referrers/",
        f"/v2/alice/birds/blobs/uploads/{'0' * 32}/more",
        "/v2/token/more",
    ],
)
async def test_404_in_json_for_a_path_that_is_none(alice: Registry, people: People, path: str):
    for registry in (alice, await people.registry(None)):
        response = await registry.client.get(path, follow_redirects=True)
        assert response.status_code == 404
        assert codes_of(response) == ["UNSUPPORTED"]


@pytest.mark.parametrize(
    "name",
    [
        "birds",
        "Alice/birds",
        "alice/Birds",
        "alice/birds_",
        "alice/-birds",
        "alice/bi..rds",
        "alice/birds/_x",
        "alice/b%C3%AFrds",
        "alice/b irds",
        "alice/" + "a" * 250,
        "alice_x/birds",
        "_legacy/birds",
        "_bases/birds",
        "..",
    ],
)
@pytest.mark.parametrize(
    ("method", "rest"), [("GET", "manifests/latest"), ("POST", "blobs/uploads/"), ("GET", "tags/list")]
)
async def test_400_for_a_name_that_no_repository_can_have(alice: Registry, name: str, method: str, rest: str):
    response = await alice.client.request(method, f"/v2/{name}/{rest}")
    if name == "..":  # which a client folds away
        assert response.status_code in {400, 404}
        return
    assert response.status_code == 400, response.text
    assert codes_of(response) == ["NAME_INVALID"]


@pytest.mark.parametrize("name", ["alice/" + "a" * 249, "alice/a.b_c__d-e--f", "alice/0", "alice/a/b/c/d/e/f"])
async def test_a_name_that_the_specification_allows(alice: Registry, name: str):
    registry = alice.at(name)
    await registry.push(Image(name), "latest")
    assert await registry.tags() == ["latest"]


@pytest.mark.parametrize("namespace", ["nobody", "library", "rpc", "legacy", "token"])
async def test_403_to_push_to_a_namespace_that_is_not_one_s_own_whether_there_is_one(alice: Registry, namespace: str):
    await alice.at(f"{namespace}/birds").call("POST", "blobs/uploads/", status=403, code="DENIED")


async def test_the_old_clients_own_paths_stay_theirs(alice: Registry):
    whoami = await alice.client.get("/v2/rpc/user.identity.whoami")
    assert whoami.json()["data"]["name"] == "alice"
    absent = await alice.client.get("/v2/rpc/no.such.method")
    assert (absent.status_code, absent.json()["status"]) == (404, 40402)
    assert (await alice.client.get("/v2/.well-known/jwks.json")).json()["keys"]


async def test_a_name_that_would_break_out_of_a_header_is_not_in_the_challenge(people: People):
    nobody = await people.registry(None)
    response = await nobody.client.get(
        '/v2/alice/x",error="y/manifests/latest', headers={"Authorization": "Bearer x.y.z"}
    )
    assert response.status_code == 401
    assert "scope" not in challenge_of(response)
    assert challenge_of(response)["error"] == "invalid_token"


@pytest.mark.parametrize("header", ["", "Bearer", "token None"])
async def test_what_clients_send_without_a_token_is_nobody(people: People, header: str):
    response = await people.with_headers({"Authorization": header}).call("GET", "/v2/", status=401)
    assert "error" not in challenge_of(response)


@pytest.mark.parametrize("scheme", ["Bearer {}", "bearer {}", "token {}"])
async def test_a_personal_token_is_good_without_an_exchange(people: People, scheme: str):
    registry = people.with_headers({"Authorization": scheme.format(await people.token("alice"))})
    await registry.push(Image(), "latest")
