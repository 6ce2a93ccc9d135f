"""The token service of the registry: both forms, what a token opens, and what opens no token."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import time_machine

from palomar.contract.actions import Scope
from palomar.server.accounts.keys import REGISTRY
from palomar.server.accounts.models import Account, SessionClient
from palomar.server.accounts.personal_tokens import delete_token
from palomar.server.accounts.service import find_account
from palomar.server.accounts.sessions import end_session, start_session
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.api.native import token_with
from tests.api.oci import Image, People, Registry, basic, bearer, challenge_of, codes_of
from tests.fixtures.hubs import BASE_URL, ClientFactory

TOKEN = "/v2/token"
PULL_PUSH = "repository:alice/birds:pull,push"


@pytest.fixture
def small_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"token_requests_per_minute": 5})


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
def client(people: People) -> httpx2.AsyncClient:
    return people.client_factory(people.hub)


def claims_of(token: str) -> dict[str, Any]:
    return _part(token, 1)


def header_of(token: str) -> dict[str, Any]:
    return _part(token, 0)


def _part(token: str, number: int) -> dict[str, Any]:
    text = token.split(".")[number]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=="))
    return decoded


def granted(answer: httpx2.Response) -> dict[str, list[str]]:
    return {one["name"]: one["actions"] for one in claims_of(answer.json()["token"])["access"]}


async def session_of(hub: Hub, name: str) -> str:
    """The JWT of a login by command line."""
    async with hub.database.write() as session:
        account = await find_account(session, name)
        assert isinstance(account, Account)
        ttl, client = timedelta(days=1), SessionClient.COMMAND_LINE
        return await start_session(session, hub.identity.keys, account, client=client, ttl=ttl, issuer=BASE_URL)


async def fetch(client: httpx2.AsyncClient, credential: dict[str, str], *scopes: str) -> str:
    answer = await client.get(TOKEN, params={"scope": list(scopes)}, headers=credential)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


# --- the Docker form -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["alice", "bob", "anybody@example.org", "<token>"])
async def test_basic_with_a_personal_token_and_any_user_name(people: People, client: httpx2.AsyncClient, user: str):
    credential = basic(user, await people.token("alice"))
    answer = await client.get(TOKEN, params={"service": "hub.test", "scope": PULL_PUSH}, headers=credential)
    assert answer.status_code == 200
    body = answer.json()
    assert body["token"] == body["access_token"]
    assert body["expires_in"] == 300
    assert body["issued_at"].endswith("Z")
    assert body["scope"] == PULL_PUSH
    assert "refresh_token" not in body
    assert answer.headers["cache-control"] == "no-store"


async def test_a_token_is_signed_with_es256_and_says_what_it_is_for(people: People, client: httpx2.AsyncClient):
    token = await fetch(client, basic("x", await people.token("alice")), PULL_PUSH)
    assert header_of(token)["alg"] == "ES256"
    assert header_of(token)["typ"] == REGISTRY
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 300
    assert claims["access"] == [
        {"type": "repository", "name": "alice/birds", "actions": ["pull", "push"], "asked": ["pull", "push"]}
    ]
    assert await people.token("alice") not in json.dumps(claims)


async def test_without_credentials_comes_a_token_of_nobody(people: People, client: httpx2.AsyncClient):
    token = await fetch(client, {}, PULL_PUSH)
    assert claims_of(token)["sub"] == ""
    assert claims_of(token)["access"][0]["actions"] == []


@pytest.mark.parametrize("user", ["<token>"])
async def test_the_credential_helper_s_anonymous_is_nobody(client: httpx2.AsyncClient, user: str):
    assert claims_of(await fetch(client, basic(user, "anonymous")))["sub"] == ""


async def test_somebody_who_types_anonymous_as_their_password_is_not_logged_in(client: httpx2.AsyncClient):
    assert (await client.get(TOKEN, headers=basic("alice", "anonymous"))).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !",
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"alice:").decode(),
        "Basic " + base64.b64encode(b"alice:\xff").decode(),
        "Basic " + base64.b64encode(b"alice:correct horse battery staple").decode(),
        "Basic " + base64.b64encode(b"alice:plm_" + b"0" * 33).decode(),
        "Bearer a.b.c",
        "Digest x",
    ],
)
async def test_what_is_no_credential_gets_none(client: httpx2.AsyncClient, header: str):
    answer = await client.get(TOKEN, headers={"Authorization": header})
    assert answer.status_code == 401
    assert codes_of(answer) == ["UNAUTHORIZED"]


@pytest.mark.parametrize("scope", ["repository:alice/birds:pull", ""])
async def test_more_scopes_than_a_token_can_carry(client: httpx2.AsyncClient, scope: str):
    many = [f"repository:alice/r{number}:pull" for number in range(11)]
    assert (await client.get(TOKEN, params={"scope": [scope, *many]})).status_code == 400


# --- OAuth2 --------------------------------------------------------------------------------------------------------


async def test_an_identity_token_is_exchanged_by_post(people: People, client: httpx2.AsyncClient):
    """As docker-credential-jina-hubble makes docker do it."""
    form = {
        "grant_type": "refresh_token",
        "service": "hub.test",
        "client_id": "docker",
        "scope": PULL_PUSH,
        "refresh_token": await people.token("alice"),
    }
    answer = await client.post(TOKEN, data=form)
    assert answer.status_code == 200
    assert answer.json()["access_token"] == answer.json()["token"]
    assert granted(answer) == {"alice/birds": ["pull", "push"]}
    assert "refresh_token" not in answer.json()


async def test_the_body_may_be_chunked(people: People, client: httpx2.AsyncClient):
    async def pieces() -> Any:
        yield b"grant_type=refresh_token&service=hub.test&scope=repository%3Aalice"
        yield b"%2Fbirds%3Apull&refresh_token=" + (await people.token("alice")).encode()

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post(TOKEN, content=pieces(), headers=headers)
    assert granted(answer) == {"alice/birds": ["pull"]}


async def test_a_session_is_exchanged_too(people: People, client: httpx2.AsyncClient):
    await people.token("alice")
    jwt = await session_of(people.hub, "alice")
    answer = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": jwt, "scope": PULL_PUSH})
    assert granted(answer) == {"alice/birds": ["pull", "push"]}
    assert claims_of(answer.json()["token"])["ck"] == "session"
    await people.with_headers(bearer(answer.json()["token"])).start()


async def test_anonymous_as_refresh_token_is_nobody(client: httpx2.AsyncClient):
    answer = await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": "anonymous"})
    assert claims_of(answer.json()["token"])["sub"] == ""


@pytest.mark.parametrize("access_type", [None, "online", "offline"])
async def test_a_password_grant(people: People, client: httpx2.AsyncClient, access_type: str | None):
    """With offline access comes what can be exchanged later: the token that was given, revocable as ever."""
    token = await people.token("alice")
    form = {"grant_type": "password", "username": "whoever", "password": token, "scope": PULL_PUSH}
    answer = await client.post(TOKEN, data=form | ({"access_type": access_type} if access_type else {}))
    assert granted(answer) == {"alice/birds": ["pull", "push"]}
    assert answer.json().get("refresh_token") == (token if access_type == "offline" else None)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"grant_type": "refresh_token"},
        {"grant_type": "refresh_token", "refresh_token": ""},
        {"grant_type": "password", "username": "alice"},
        {"grant_type": "authorization_code", "code": "x"},
    ],
)
async def test_a_form_that_lacks_something(client: httpx2.AsyncClient, form: dict[str, str]):
    assert (await client.post(TOKEN, data=form)).status_code == 400


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"grant_type=password&" * 200, b"grant_type=refresh_token&" + bytes(70_000)]
)
async def test_a_body_that_is_no_form_of_this_kind(client: httpx2.AsyncClient, body: bytes):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client.post(TOKEN, content=body, headers=headers)
    assert answer.status_code in {400, 413}


# --- what is granted -----------------------------------------------------------------------------------------------


async def test_scopes_follow_the_access_policy(people: People, client: httpx2.AsyncClient):
    """Of a private repository and of none a stranger is granted the same."""
    alice = await people.registry("alice")
    await alice.push(Image(), "latest")
    asked = ["repository:alice/birds:*", "repository:alice/absent:*", "repository:nobody/absent:*"]
    for person, birds in (("alice", ["delete", "pull", "push"]), ("bob", ["pull"]), (None, ["pull"])):
        credential = {} if person is None else basic("x", await people.token(person))
        answer = await client.get(TOKEN, params={"scope": asked}, headers=credential)
        absent = ["delete", "pull", "push"] if person == "alice" else []
        assert granted(answer) == {"alice/birds": birds, "alice/absent": absent, "nobody/absent": []}


@pytest.mark.parametrize(
    ("scopes", "expected"), [([Scope.READ], ["pull"]), ([Scope.WRITE], ["delete", "push"]), ([Scope.ACCOUNT], [])]
)
async def test_a_personal_token_s_own_scopes_are_a_ceiling(
    people: People, client: httpx2.AsyncClient, scopes: list[Scope], expected: list[str]
):
    await people.token("alice")
    async with people.hub.database.read() as session:
        account = await find_account(session, "alice")
    assert account is not None
    narrow = await token_with(people.hub, account.id, *scopes)
    answer = await client.get(TOKEN, params={"scope": "repository:alice/birds:*"}, headers=basic("x", narrow))
    assert granted(answer) == {"alice/birds": expected}
    registry = people.with_headers(bearer(answer.json()["token"]))
    await registry.call("POST", "blobs/uploads/", status=202 if "push" in expected else 403)


# --- what a token opens, and for how long --------------------------------------------------------------------------


async def with_token(people: People, *scopes: str, repository: str = "alice/birds") -> Registry:
    client = people.client_factory(people.hub)
    token = await fetch(client, basic("x", await people.token("alice")), *scopes)
    return people.with_headers(bearer(token), repository)


async def test_a_token_of_one_repository_opens_no_other(people: People):
    alice = await people.registry("alice")
    await alice.at("alice/other").push(Image("other"), "latest")
    narrow = await with_token(people, PULL_PUSH)
    await narrow.push(Image(), "latest")
    refused = await narrow.call("GET", "/v2/alice/other/manifests/latest", status=401)
    challenge = challenge_of(refused)
    assert challenge["error"] == "insufficient_scope"
    assert challenge["scope"] == "repository:alice/other:pull"


@pytest.mark.parametrize("asked", ["pull", "push", "delete"])
async def test_a_token_does_what_it_was_fetched_for_and_nothing_else(people: People, asked: str):
    await (await people.registry("alice")).push(Image(), "latest")
    narrow = await with_token(people, f"repository:alice/birds:{asked}")
    expected = {"pull": "GET", "push": "PUT", "delete": "DELETE"}[asked]
    for method in ("GET", "PUT", "DELETE"):
        path = narrow.path("manifests/latest")
        response = await narrow.client.request(method, path, content=Image().manifest if method == "PUT" else None)
        assert (response.status_code == 401) is (method != expected), (method, response.text)


async def test_an_expired_token_opens_nothing(people: People):
    with time_machine.travel(0, tick=False) as moment:
        narrow = await with_token(people, PULL_PUSH)
        await narrow.start()
        moment.shift(299)
        await narrow.start()
        moment.shift(2)
        refused = await narrow.call("POST", "blobs/uploads/", status=401, code="UNAUTHORIZED")
    assert challenge_of(refused)["error"] == "invalid_token"
    assert challenge_of(refused)["scope"] == PULL_PUSH


async def test_a_token_ends_with_the_credential_that_it_was_given_for(people: People):
    narrow = await with_token(people, PULL_PUSH)
    await narrow.start()
    async with people.hub.database.write() as session:
        account = await find_account(session, "alice")
        assert account is not None
        await delete_token(session, account_id=account.id, name="tests")
    await narrow.call("POST", "blobs/uploads/", status=401, code="UNAUTHORIZED")
    await narrow.call("GET", "/v2/", status=401, code="UNAUTHORIZED")


async def test_a_token_ends_with_the_login_that_it_was_given_for(people: People, client: httpx2.AsyncClient):
    await people.token("alice")
    jwt = await session_of(people.hub, "alice")
    narrow = people.with_headers(bearer(await fetch(client, basic("<token>", jwt), PULL_PUSH)))
    await narrow.start()
    claims = claims_of(jwt)
    async with people.hub.database.write() as session:
        await end_session(session, claims["sid"], account_id=claims["sub"])
    await narrow.call("POST", "blobs/uploads/", status=401, code="UNAUTHORIZED")


# --- one kind of token is never another ----------------------------------------------------------------------------


async def test_a_session_is_no_registry_token(people: People):
    await people.token("alice")
    jwt = await session_of(people.hub, "alice")
    for credential in (bearer(jwt), {"Authorization": f"token {jwt}"}, basic("x", jwt)):
        await people.with_headers(credential).call("GET", "/v2/", status=401, code="UNAUTHORIZED")


async def test_a_registry_token_is_no_session(people: People, client: httpx2.AsyncClient):
    token = await fetch(client, basic("x", await people.token("alice")), "repository:alice/birds:*")
    for path in ("/api/v1/whoami", "/v2/rpc/user.identity.whoami"):
        assert (await client.get(path, headers=bearer(token))).status_code == 401
    assert (await client.get(TOKEN, headers=basic("x", token))).status_code == 401
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert (await client.post(TOKEN, data=form)).status_code == 401
    assert (await client.get("/settings", headers={"Cookie": f"palomar_session={token}"})).status_code == 303


@pytest.mark.parametrize("header", ["typ", "alg"])
@pytest.mark.parametrize("value", [None, "none", "HS256", "JWT", "ES384", ""])
async def test_a_token_with_another_header_is_none(people: People, header: str, value: str | None):
    """Algorithm confusion: the signature would have to be of the header that says so."""
    client = people.client_factory(people.hub)
    token = await fetch(client, basic("x", await people.token("alice")), PULL_PUSH)
    changed = header_of(token) | {header: value}
    head = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    _, body, signature = token.split(".")
    for forged in (f"{head}.{body}.{signature}", f"{head}.{body}."):
        await people.with_headers(bearer(forged)).call("GET", "/v2/", status=401, code="UNAUTHORIZED")


async def test_a_token_whose_claims_were_changed_is_none(people: People, client: httpx2.AsyncClient):
    token = await fetch(client, basic("x", await people.token("alice")), "repository:alice/birds:pull")
    claims = claims_of(token) | {"exp": 2**40}
    head, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    await people.with_headers(bearer(f"{head}.{body}.{signature}")).call("GET", "/v2/", status=401)


# --- limits and logs -----------------------------------------------------------------------------------------------


async def test_attempts_with_wrong_tokens_are_limited_by_address(people: People, client: httpx2.AsyncClient):
    wrong = [await client.get(TOKEN, headers=basic("x", f"plm_wrong{number}")) for number in range(7)]
    assert [answer.status_code for answer in wrong] == [401] * 5 + [429] * 2
    assert int(wrong[-1].headers["retry-after"]) > 0
    assert codes_of(wrong[-1]) == ["TOOMANYREQUESTS"]
    form = {"grant_type": "refresh_token", "refresh_token": "plm_wrong"}
    assert (await client.post(TOKEN, data=form)).status_code == 429


async def test_tokens_that_hold_are_not_limited(people: People, client: httpx2.AsyncClient):
    """A push fetches several, and a fleet behind one address must be able to pull."""
    credential = basic("x", await people.token("alice"))
    answers = await asyncio.gather(*(client.get(TOKEN, headers=credential) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_nothing_of_a_token_is_logged(
    people: People, client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
):
    caplog.set_level(logging.DEBUG)
    secret = await people.token("alice")
    jwt = await fetch(client, basic("x", secret), PULL_PUSH)
    await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": secret})
    await client.post(TOKEN, data={"grant_type": "refresh_token", "refresh_token": secret[:-1] + "x"})
    await people.with_headers(bearer(jwt)).start()
    printed = capsys.readouterr()
    logged = caplog.text + printed.out + printed.err
    assert "/v2/token" in logged
    assert secret[:-1] not in logged
    assert jwt not in logged
    assert jwt.split(".")[2] not in logged
