"""``user.*`` over the wire: shapes that the old clients read, for each kind of caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import time_machine
from starlette.requests import Request

from palomar.contract.actions import ALL_SCOPES, Scope
from palomar.server.accounts import login_flow
from palomar.server.accounts.models import Account, SessionClient
from palomar.server.accounts.personal_tokens import create_token
from palomar.server.accounts.service import NewAccount, sign_up
from palomar.server.accounts.sessions import start_session
from palomar.server.accounts.tokens import new_token
from palomar.server.db.columns import utc_now
from palomar.server.settings import Settings
from palomar.server.web.hubble import logins
from palomar.server.web.hubble.rpc import RpcCall
from palomar.server.wiring import Hub

RPC = "/v2/rpc/"


@pytest.fixture
async def alice(small_hub: Hub) -> Account:
    return await sign_up(small_hub.database, NewAccount("alice"), defaults=small_hub.namespace_defaults)


@pytest.fixture
async def client(small_hub: Hub, client_factory: Any) -> httpx2.AsyncClient:
    return client_factory(small_hub)


async def token_of(hub: Hub, account: Account, *, days: int | None = 30, scopes: frozenset[Scope] = ALL_SCOPES) -> str:
    async with hub.database.write() as session:
        return await create_token(session, account_id=account.id, name="ci", days=days, scopes=scopes)


async def session_of(hub: Hub, account: Account, client: SessionClient = SessionClient.COMMAND_LINE) -> str:
    async with hub.database.write() as session:
        return await start_session(
            session, hub.identity.keys, account, client=client, ttl=timedelta(days=1), issuer="http://hub.test"
        )


def with_token(token: str, scheme: str = "token ") -> dict[str, str]:
    return {"Authorization": scheme + token}


def assert_refused(answer: httpx2.Response) -> None:
    assert answer.status_code == 401
    body = answer.json()
    assert (body["code"], body["status"]) == (401, 40103)
    assert body["message"]


class TestWhoami:
    @pytest.mark.parametrize("scheme", ["token ", "Bearer ", "bearer ", "", "token   "])
    async def test_forms_of_the_header(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account, scheme: str
    ) -> None:
        token = await token_of(small_hub, alice)
        answer = await client.post(RPC + "user.identity.whoami", headers=with_token(token, scheme))
        assert answer.json() == {
            "code": 200,
            "status": 20000,
            "data": {"_id": alice.id, "name": "alice", "nickname": "alice", "status": "active"},
        }

    @pytest.mark.parametrize("header", ["token None", "token null", "token ", "token", "Bearer", "None", ""])
    async def test_nobody_s_headers(self, client: httpx2.AsyncClient, header: str) -> None:
        answer = await client.post(RPC + "user.identity.whoami", headers={"Authorization": header})
        assert_refused(answer)
        assert answer.json()["data"]["code"] == "credential-missing"

    @pytest.mark.parametrize(
        "token", ["plm_nonsense", "x", "a.b.c", pytest.param(new_token(), id="well-formed"), "Basic eDp5", "é"]
    )
    async def test_bad_tokens_are_no_anonymous_callers(self, client: httpx2.AsyncClient, token: str) -> None:
        answer = await client.post(RPC + "user.identity.whoami", headers={"Authorization": token.encode()})
        assert_refused(answer)
        assert answer.json()["data"]["code"] == "credential-invalid"

    async def test_expired(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        token = await token_of(small_hub, alice, days=1)
        with time_machine.travel(utc_now() + timedelta(days=1, seconds=1)):
            assert_refused(await client.post(RPC + "user.identity.whoami", headers=with_token(token)))

    async def test_cookie_does_not_count(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        cookie = await session_of(small_hub, alice, SessionClient.BROWSER)
        headers = {"Cookie": f"palomar_session={cookie}"}
        assert_refused(await client.post(RPC + "user.identity.whoami", headers=headers))


class TestSession:
    async def test_dismiss_ends_the_session_at_once(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account
    ) -> None:
        headers = with_token(await session_of(small_hub, alice))
        assert (await client.post(RPC + "user.session.getRaw", headers=headers)).json()["data"]["type"] == "cli"
        dismissed = await client.post(RPC + "user.session.dismiss", headers=headers)
        assert (dismissed.status_code, dismissed.json()["code"]) == (200, 200)
        assert_refused(await client.post(RPC + "user.identity.whoami", headers=headers))

    async def test_dismiss_leaves_a_personal_token_alone(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account
    ) -> None:
        headers = with_token(await token_of(small_hub, alice))
        assert (await client.post(RPC + "user.session.dismiss", headers=headers)).json()["code"] == 200
        assert (await client.post(RPC + "user.identity.whoami", headers=headers)).status_code == 200

    async def test_dismiss_of_nobody_is_401_in_the_body(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(RPC + "user.session.dismiss", headers={"Authorization": "token None"})
        assert answer.json()["code"] == 401, "the client reads the body and tells that nobody was logged in"


class TestPersonalTokens:
    async def test_create_list_delete(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        headers = with_token(await session_of(small_hub, alice))
        form = {"name": "laptop", "expirationDays": "7"}
        created = (await client.post(RPC + "user.pat.create", data=form, headers=headers)).json()["data"]["token"]
        assert (await client.post(RPC + "user.identity.whoami", headers=with_token(created))).status_code == 200
        await small_hub.identity.usage.flush()
        [row] = (await client.post(RPC + "user.pat.list", headers=headers)).json()["data"]["personal_access_tokens"]
        assert set(row) == {"name", "type", "createdAt", "expireAt", "updatedAt"}
        assert all(isinstance(value, str) for value in row.values()), "the client's table shows nothing but text"
        assert row["name"] == "laptop"
        deleted = await client.post(RPC + "user.pat.delete", data={"name": "laptop"}, headers=headers)
        assert deleted.status_code == 200
        assert_refused(await client.post(RPC + "user.identity.whoami", headers=with_token(created)))

    @pytest.mark.parametrize(
        ("form", "code", "status"),
        [
            ({"name": "ci"}, 409, 42202),
            ({"name": ""}, 400, 40001),
            ({}, 400, 40001),
            ({"name": "x", "expirationDays": "0"}, 400, 40001),
            ({"name": "x", "expirationDays": "soon"}, 400, 40001),
            ({"name": "x", "expirationDays": "3651"}, 400, 40001),
        ],
    )
    async def test_refusals(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account, form: dict[str, str], code: int, status: int
    ) -> None:
        headers = with_token(await token_of(small_hub, alice))
        body = (await client.post(RPC + "user.pat.create", data=form, headers=headers)).json()
        assert (body["code"], body["status"]) == (code, status)

    async def test_thirty_days_unless_told(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        headers = with_token(await session_of(small_hub, alice))
        await client.post(RPC + "user.pat.create", data={"name": "laptop"}, headers=headers)
        [row] = (await client.post(RPC + "user.pat.list", headers=headers)).json()["data"]["personal_access_tokens"]
        assert (utc_now() + timedelta(days=30)).isoformat()[:10] == row["expireAt"][:10]

    async def test_deleting_what_is_not_there(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        headers = with_token(await session_of(small_hub, alice))
        body = (await client.post(RPC + "user.pat.delete", data={"name": "x"}, headers=headers)).json()
        assert body["status"] == 40403

    @pytest.mark.parametrize("method", ["user.pat.create", "user.pat.list", "user.pat.delete"])
    async def test_token_without_the_account_scope_may_not(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account, method: str
    ) -> None:
        headers = with_token(await token_of(small_hub, alice, scopes=frozenset({Scope.READ, Scope.WRITE})))
        body = (await client.post(RPC + method, data={"name": "x"}, headers=headers)).json()
        assert body["status"] == 40301

    async def test_new_token_may_no_more_than_its_maker(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account
    ) -> None:
        headers = with_token(await token_of(small_hub, alice, scopes=frozenset({Scope.ACCOUNT})))
        made = (await client.post(RPC + "user.pat.create", data={"name": "x"}, headers=headers)).json()["data"]["token"]
        assert (await small_hub.identity.credentials.find_holder(made)).scopes == {Scope.ACCOUNT}

    @pytest.mark.parametrize(
        "method",
        ["user.pat.create", "user.pat.list", "user.pat.delete", "dockerRegistry.listInternalRegistries"],
    )
    async def test_nobody_may(self, client: httpx2.AsyncClient, method: str) -> None:
        assert_refused(await client.post(RPC + method, data={"name": "x"}))


class TestRegistries:
    @pytest.mark.parametrize(("host", "expected"), [("hub.test:8484", ["hub.test:8484"]), ("no host!", [])])
    async def test_never_fails_for_a_known_caller(
        self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account, host: str, expected: list[str]
    ) -> None:
        headers = {**with_token(await session_of(small_hub, alice)), "Host": host}
        answer = await client.post(RPC + "dockerRegistry.listInternalRegistries", headers=headers)
        assert (answer.status_code, answer.json()["data"]) == (200, expected)


async def test_jwks_is_plain_and_every_key_has_a_kid(client: httpx2.AsyncClient) -> None:
    body = (await client.get("/v2/.well-known/jwks.json")).json()
    assert set(body) == {"keys"}
    assert all(key["kid"] and "d" not in key for key in body["keys"])
    assert body["keys"]


class TestBrowserLogin:
    async def stream(self, hub: Hub) -> AsyncIterator[bytes]:
        """What the client would receive, piece by piece: the test transport itself waits for the whole body."""
        scope = {
            "type": "http",
            "method": "GET",
            "path": RPC + "user.identity.proxiedAuthorize",
            "query_string": b"prompt=login&provider=jina-login",
            "headers": [(b"host", b"hub.test")],
            "scheme": "http",
            "server": ("hub.test", 80),
            "client": ("10.0.0.1", 1),
        }
        response = await logins.proxied_authorize(RpcCall(hub, Request(scope)))
        assert response.status_code == 200
        assert "content-length" not in response.headers, "the client would buffer a stream that is not chunked"
        async with aclosing(response.body_iterator) as pieces:
            async for piece in pieces:
                yield piece

    async def decide(self, hub: Hub, request_id: str, account: Account | None) -> None:
        async with hub.database.write() as session:
            if account is None:
                await login_flow.refuse(session, request_id)
            else:
                await login_flow.confirm(session, request_id, account_id=account.id)

    async def run(self, hub: Hub, account: Account | None) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = []
        async with aclosing(self.stream(hub)) as pieces:
            async for piece in pieces:
                assert piece.endswith(b"\n") or piece == b" ", "a blank line would abort the login"
                events += [json.loads(line) for line in piece.splitlines() if line.strip()]
                if len(events) == 1:
                    url = events[0]["data"]["redirectTo"]
                    assert url.startswith("http://hub.test/login/cli?request=")
                    await self.decide(hub, url.partition("=")[2], account)
        return events

    @pytest.mark.parametrize("encoding", ["json", "data"])
    async def test_confirmed(self, client: httpx2.AsyncClient, small_hub: Hub, alice: Account, encoding: str) -> None:
        [_, authorize] = await self.run(small_hub, alice)
        assert authorize["event"] == "authorize"
        body: dict[str, Any] = {encoding: authorize["data"]}
        granted = (await client.post(RPC + "user.identity.grant.auto", **body)).json()["data"]
        assert granted["user"] == {"_id": alice.id, "name": "alice", "nickname": "alice"}
        who = await client.post(RPC + "user.identity.whoami", headers=with_token(granted["token"]))
        assert who.json()["data"]["name"] == "alice"
        assert_refused(await client.post(RPC + "user.identity.grant.auto", **body))

    async def test_refused(self, small_hub: Hub) -> None:
        [_, authorize] = await self.run(small_hub, None)
        assert authorize["event"] == "authorize"
        assert authorize["data"]["code"] is None
        assert authorize["data"]["state"]
        assert authorize["data"]["error_description"]

    async def test_signs_of_life_are_single_spaces(
        self, small_hub: Hub, alice: Account, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logins, "_HEARTBEAT_S", 0.001)
        async with aclosing(self.stream(small_hub)) as pieces:
            redirect = json.loads(await anext(pieces))
            assert await anext(pieces) == b" "
            await self.decide(small_hub, redirect["data"]["redirectTo"].partition("=")[2], alice)
            rest = b"".join([piece async for piece in pieces])
        assert json.loads(rest)["event"] == "authorize", "spaces before a line do not disturb it"

    async def test_too_late(self, small_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(login_flow, "REQUEST_TTL", timedelta(0))
        async with aclosing(self.stream(small_hub)) as pieces:
            events = [json.loads(piece) async for piece in pieces]
        assert [event["event"] for event in events] == ["redirect", "authorize"]
        assert events[1]["data"]["code"] is None

    async def test_failures_are_events(self, small_hub: Hub, client: httpx2.AsyncClient) -> None:
        await small_hub.identity.logins.close()
        answer = await client.get(RPC + "user.identity.proxiedAuthorize", params={"prompt": "login"})
        assert answer.status_code == 200
        assert answer.json()["event"] == "error"

    async def test_unexpected_failures_too(self, small_hub: Hub, client: httpx2.AsyncClient) -> None:
        await small_hub.identity.logins.close()
        async with small_hub.database.write() as session:
            from sqlalchemy import text

            await session.execute(text("DROP TABLE login_requests"))
        answer = await client.get(RPC + "user.identity.proxiedAuthorize")
        assert answer.status_code == 200
        assert answer.json()["event"] == "error"
        assert "login_requests" not in answer.text

    async def test_both_decided_at_the_same_time_as_the_stream_waits(self, small_hub: Hub, alice: Account) -> None:
        outcomes = await asyncio.gather(*(self.run(small_hub, alice) for _ in range(5)))
        assert all(outcome[1]["data"]["code"] for outcome in outcomes)
        assert len({outcome[1]["data"]["code"] for outcome in outcomes}) == 5


class TestFormLogin:
    async def test_only_the_command_line_s_own_address(self, client: httpx2.AsyncClient) -> None:
        for target in ("http://evil.test", "http://localhost:8086", "http://localhost:8085.evil.test", ""):
            params = {"provider": "jina-login", "redirectUri": target}
            answer = await client.get(RPC + "user.identity.authorize", params=params)
            assert (answer.status_code, answer.json()["status"]) == (400, 40001)

    async def test_address_of_the_page(self, client: httpx2.AsyncClient) -> None:
        params = {"provider": "jina-login", "redirectUri": "http://localhost:8085"}
        answer = await client.get(RPC + "user.identity.authorize", params=params)
        assert answer.json()["data"]["redirectTo"].startswith("http://hub.test/login/cli?request=")


class TestLimits:
    @pytest.fixture
    def small_settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"token_requests_per_minute": 2})

    async def test_grants_are_counted(self, client: httpx2.AsyncClient) -> None:
        for _ in range(2):
            assert_refused(await client.post(RPC + "user.identity.grant.auto", json={"code": "x", "state": "y"}))
        limited = await client.post(RPC + "user.identity.grant.auto", json={"code": "x", "state": "y"})
        assert (limited.status_code, limited.json()["status"]) == (429, 40301)
        assert int(limited.headers["Retry-After"]) > 0

    async def test_login_starts_are_counted_and_told_as_an_event(
        self, small_hub: Hub, client: httpx2.AsyncClient
    ) -> None:
        for _ in range(2):
            small_hub.identity.limits.count_token_request(address="127.0.0.1")
        answer = await client.get(RPC + "user.identity.proxiedAuthorize")
        assert (answer.status_code, answer.json()["event"]) == (200, "error")
        assert answer.json()["data"]["code"] == "rate-limited"
