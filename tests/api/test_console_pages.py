"""The console's pages, as a browser without script uses them."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from palomar.server.accounts import login_flow
from palomar.server.accounts.models import Account, LoginDelivery
from palomar.server.accounts.service import NewAccount, sign_up
from palomar.server.settings import Settings
from palomar.server.web.console.visits import local_path
from palomar.server.wiring import Hub

PASSWORD = "correct horse battery"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://hub.test"}


@pytest.fixture
async def alice(small_hub: Hub) -> Account:
    return await sign_up(small_hub.database, NewAccount("alice", PASSWORD), defaults=small_hub.namespace_defaults)


@pytest.fixture
async def browser(small_hub: Hub, client_factory: Any) -> httpx2.AsyncClient:
    return client_factory(small_hub, headers=OWN)


@pytest.fixture
async def alice_browser(browser: httpx2.AsyncClient, alice: Account) -> httpx2.AsyncClient:
    answer = await browser.post("/login", data={"name": "alice", "password": PASSWORD})
    assert answer.status_code == 303
    return browser


async def begin(hub: Hub, delivery: LoginDelivery = LoginDelivery.STREAM) -> login_flow.BegunLogin:
    async with hub.database.write() as session:
        return await login_flow.begin(session, client_address="10.0.0.1", delivery=delivery)


class TestSignUp:
    async def test_leads_into_the_settings(self, browser: httpx2.AsyncClient) -> None:
        form = {"name": "alice", "password": PASSWORD, "email": ""}
        answer = await browser.post("/signup", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/settings")
        assert "alice" in (await browser.get("/settings")).text

    @pytest.mark.parametrize(
        ("form", "field", "status"),
        [
            ({"name": "alice", "password": PASSWORD}, "name", 409),
            ({"name": "Al ice", "password": PASSWORD}, "name", 400),
            ({"name": "bob", "password": "short"}, "password", 400),
            ({"name": "bob", "password": PASSWORD, "email": "x"}, "email", 400),
            ({}, "name", 400),
        ],
    )
    async def test_errors_stand_beside_their_fields_and_what_was_typed_stays(
        self, browser: httpx2.AsyncClient, alice: Account, form: dict[str, str], field: str, status: int
    ) -> None:
        answer = await browser.post("/signup", data=form)
        assert answer.status_code == status
        assert f'id="{field}-error"' in answer.text
        assert re.search(rf'<input id="{field}"[^>]*aria-invalid="true"', answer.text)
        assert f'value="{form.get("name", "")}"' in answer.text
        assert PASSWORD not in answer.text

    async def test_what_was_typed_is_escaped(self, browser: httpx2.AsyncClient) -> None:
        answer = await browser.post("/signup", data={"name": '"><script>x</script>', "password": PASSWORD})
        assert "<script>" not in answer.text


class TestClosedSignUp:
    @pytest.fixture
    def small_settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"sign_up": "closed"})

    async def test_nobody_signs_up(self, browser: httpx2.AsyncClient) -> None:
        assert "<form" not in (await browser.get("/signup")).text.partition("<main")[2]
        answer = await browser.post("/signup", data={"name": "alice", "password": PASSWORD})
        assert answer.status_code == 403
        assert "/signup" not in (await browser.get("/login")).text


class TestLogin:
    async def test_cookie_is_out_of_reach_of_scripts_and_other_sites(
        self, browser: httpx2.AsyncClient, alice: Account
    ) -> None:
        answer = await browser.post("/login", data={"name": "alice", "password": PASSWORD})
        cookie = answer.headers["set-cookie"].lower()
        assert all(attribute in cookie for attribute in ("httponly", "samesite=lax", "path=/"))
        assert "secure" not in cookie, "the test's hub is reached by plain HTTP"

    async def test_wrong_password_and_unknown_name_look_alike(
        self, browser: httpx2.AsyncClient, alice: Account
    ) -> None:
        wrong = await browser.post("/login", data={"name": "alice", "password": "wrong"})
        unknown = await browser.post("/login", data={"name": "zelda", "password": "wrong"})
        assert (wrong.status_code, unknown.status_code) == (401, 401)
        assert wrong.text.replace("alice", "zelda") == unknown.text
        assert "set-cookie" not in wrong.headers

    async def test_guessing_ends_in_429(self, browser: httpx2.AsyncClient, alice: Account) -> None:
        for _ in range(10):
            await browser.post("/login", data={"name": "alice", "password": "wrong"})
        answer = await browser.post("/login", data={"name": "alice", "password": PASSWORD})
        assert answer.status_code == 429
        assert "try again in" in answer.text

    @pytest.mark.parametrize(
        "target", ["https://evil.test", "//evil.test", "/\\evil.test", "\\\\evil.test", "javascript:x", "/a\nb", ""]
    )
    async def test_next_leads_nowhere_else(self, browser: httpx2.AsyncClient, alice: Account, target: str) -> None:
        answer = await browser.post("/login", data={"name": "alice", "password": PASSWORD, "next": target})
        assert answer.headers["location"] == "/settings"
        again = await browser.get("/login", params={"next": target})
        assert again.headers["location"] == "/settings"

    def test_next_leads_to_own_pages(self) -> None:
        assert local_path("/login/cli?request=abc") == "/login/cli?request=abc"

    async def test_logout_ends_the_session_itself(self, alice_browser: httpx2.AsyncClient) -> None:
        cookie = alice_browser.cookies["palomar_session"]
        answer = await alice_browser.post("/logout")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        stolen = await alice_browser.get("/settings", headers={"Cookie": f"palomar_session={cookie}"})
        assert stolen.headers["location"].startswith("/login?next=")

    async def test_rubbish_cookie_is_a_stranger(self, browser: httpx2.AsyncClient) -> None:
        answer = await browser.get("/settings", headers={"Cookie": "palomar_session=rubbish"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fsettings")

    async def test_command_line_s_session_is_no_cookie(
        self, browser: httpx2.AsyncClient, small_hub: Hub, alice: Account
    ) -> None:
        begun = await begin(small_hub)
        async with small_hub.database.write() as session:
            await login_flow.confirm(session, begun.request_id, account_id=alice.id)
        async with small_hub.database.write() as session:
            code = await login_flow.collect_code(session, begun)
        assert code is not None
        form = {"code": code.code, "state": code.state}
        token = (await browser.post("/v2/rpc/user.identity.grant.auto", data=form)).json()["data"]["token"]
        answer = await browser.get("/settings", headers={"Cookie": f"palomar_session={token}"})
        assert answer.status_code == 303


class TestSecureCookie:
    @pytest.fixture
    def small_settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"public_url": "https://hub.test"})

    async def test_over_https(self, browser: httpx2.AsyncClient, alice: Account) -> None:
        answer = await browser.post("/login", data={"name": "alice", "password": PASSWORD})
        assert "secure" in answer.headers["set-cookie"].lower()


class TestConfirming:
    async def test_stranger_logs_in_first_and_comes_back(self, browser: httpx2.AsyncClient, alice: Account) -> None:
        answer = await browser.get("/login/cli?request=abc")
        assert answer.headers["location"] == "/login?next=%2Flogin%2Fcli%3Frequest%3Dabc"
        page = await browser.get(answer.headers["location"])
        assert 'name="next" value="/login/cli?request=abc"' in page.text

    async def test_page_says_who_and_from_where(self, alice_browser: httpx2.AsyncClient, small_hub: Hub) -> None:
        begun = await begin(small_hub)
        page = (await alice_browser.get("/login/cli", params={"request": begun.request_id})).text
        assert "<strong>alice</strong>" in page
        assert "10.0.0.1" in page
        assert "another address" in page

    @pytest.mark.parametrize(("decision", "words"), [("confirm", "You are logged in"), ("refuse", "Login refused")])
    async def test_decision_is_made_once(
        self, alice_browser: httpx2.AsyncClient, small_hub: Hub, alice: Account, decision: str, words: str
    ) -> None:
        begun = await begin(small_hub)
        form = {"request": begun.request_id, "decision": decision}
        assert words in (await alice_browser.post("/login/cli", data=form)).text
        again = await alice_browser.post("/login/cli", data={**form, "decision": "confirm"})
        assert again.status_code == 404
        async with small_hub.database.write() as session:
            code = await login_flow.collect_code(session, begun)
        assert (code is not None) == (decision == "confirm")

    async def test_form_delivery_posts_to_the_command_line_alone(
        self, alice_browser: httpx2.AsyncClient, small_hub: Hub
    ) -> None:
        begun = await begin(small_hub, LoginDelivery.FORM)
        page = await alice_browser.post("/login/cli", data={"request": begun.request_id, "decision": "confirm"})
        assert 'method="post" action="http://localhost:8085"' in page.text
        assert "form-action 'self' http://localhost:8085;" in page.headers["content-security-policy"]
        fields = dict(re.findall(r'name="(code|state)" value="([^"]+)"', page.text))
        granted = await alice_browser.post("/v2/rpc/user.identity.grant.auth0Unified", data=fields)
        assert granted.json()["data"]["token"]

    async def test_no_decision_is_no_consent(self, alice_browser: httpx2.AsyncClient, small_hub: Hub) -> None:
        begun = await begin(small_hub)
        assert (await alice_browser.post("/login/cli", data={"request": begun.request_id})).status_code == 400
        async with small_hub.database.read() as session:
            await login_flow.find_pending(session, begun.request_id)


class TestSettings:
    async def make_token(self, browser: httpx2.AsyncClient, **fields: Any) -> httpx2.Response:
        form = {"name": "ci", "days": "30", "scopes": ["read", "write"], **fields}
        return await browser.post("/settings/tokens", data=form)

    async def test_token_is_shown_once_and_works(self, alice_browser: httpx2.AsyncClient) -> None:
        page = (await self.make_token(alice_browser)).text
        found = re.search(r'value="(plm_\w+)"', page)
        assert found is not None
        token = found[1]
        headers = {"Authorization": f"token {token}"}
        assert (await alice_browser.post("/v2/rpc/user.identity.whoami", headers=headers)).status_code == 200
        later = (await alice_browser.get("/settings")).text
        assert token not in later
        assert f"…{token[-4:]}" in later
        assert "read, write" in later
        deleted = await alice_browser.post("/settings/tokens/delete", data={"name": "ci"})
        assert deleted.headers["location"] == "/settings?done=token-deleted"
        assert (await alice_browser.post("/v2/rpc/user.identity.whoami", headers=headers)).status_code == 401

    @pytest.mark.parametrize(
        ("fields", "error"),
        [
            ({"name": ""}, "token-name-error"),
            ({"days": "0"}, "token-days-error"),
            ({"days": "soon"}, "token-days-error"),
            ({"scopes": []}, "scopes-error"),
            ({"scopes": ["everything"]}, "scopes-error"),
        ],
    )
    async def test_token_errors(self, alice_browser: httpx2.AsyncClient, fields: dict[str, Any], error: str) -> None:
        answer = await self.make_token(alice_browser, **fields)
        assert answer.status_code == 400
        assert f'id="{error}"' in answer.text
        assert "You have no tokens" in answer.text

    async def test_taken_token_name(self, alice_browser: httpx2.AsyncClient) -> None:
        await self.make_token(alice_browser)
        assert 'id="token-name-error"' in (await self.make_token(alice_browser)).text

    async def test_session_is_ended(self, alice_browser: httpx2.AsyncClient, small_hub: Hub, alice: Account) -> None:
        own = (await small_hub.identity.credentials.find_holder(alice_browser.cookies["palomar_session"])).credential_id
        assert own in (await alice_browser.get("/settings")).text
        await alice_browser.post("/settings/sessions/end", data={"session": own})
        assert (await alice_browser.get("/settings")).status_code == 303

    async def test_password_is_changed(self, alice_browser: httpx2.AsyncClient) -> None:
        wrong = await alice_browser.post("/settings/password", data={"current": "x", "new": "another long one"})
        assert (wrong.status_code, 'id="current-error"' in wrong.text) == (401, True)
        short = await alice_browser.post("/settings/password", data={"current": PASSWORD, "new": "short"})
        assert (short.status_code, 'id="new-error"' in short.text) == (400, True)
        form = {"current": PASSWORD, "new": "another long one"}
        assert (await alice_browser.post("/settings/password", data=form)).status_code == 303
        old = await alice_browser.post("/login", data={"name": "alice", "password": PASSWORD})
        assert old.status_code == 401


WRITES = [
    "/signup",
    "/login",
    "/logout",
    "/login/cli",
    "/settings/tokens",
    "/settings/tokens/delete",
    "/settings/sessions/end",
    "/settings/password",
]


class TestProtection:
    @pytest.mark.parametrize("path", WRITES)
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site", "Origin": "http://hub.test"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://hub.test"},
            {"Origin": "http://evil.test"},
            {"Origin": "null"},
            {"Origin": "http://hub.test.evil.test"},
        ],
    )
    async def test_cross_site_writes_are_refused(
        self, small_hub: Hub, client_factory: Any, path: str, headers: dict[str, str]
    ) -> None:
        answer = await client_factory(small_hub).post(path, data={}, headers=headers)
        assert answer.status_code == 403
        assert "another site" in answer.text

    @pytest.mark.parametrize("headers", [{"Origin": "http://hub.test"}, {"Sec-Fetch-Site": "same-origin"}, {}])
    async def test_own_writes_are_not(self, small_hub: Hub, client_factory: Any, headers: dict[str, str]) -> None:
        answer = await client_factory(small_hub).post("/login", data={"name": "x", "password": "y"}, headers=headers)
        assert answer.status_code == 401

    @pytest.mark.parametrize("path", ["/", "/signup", "/login", "/settings", "/login/cli?request=x"])
    async def test_headers_of_every_page(self, alice_browser: httpx2.AsyncClient, path: str) -> None:
        answer = await alice_browser.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"

    async def test_errors_have_them_too(self, browser: httpx2.AsyncClient) -> None:
        answer = await browser.post("/login/cli", headers={"Sec-Fetch-Site": "cross-site"})
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith("text/html")

    async def test_page_that_is_not_there_is_a_page_for_browsers_alone(self, browser: httpx2.AsyncClient) -> None:
        seen = await browser.get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
        assert seen.status_code == 404
        assert "There is no page" in seen.text
        assert seen.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in seen.headers["content-security-policy"]
        read = await browser.get("/nowhere", headers={"Accept": "*/*"})
        assert read.json()["code"] == "unknown-method"

    async def test_huge_form(self, browser: httpx2.AsyncClient) -> None:
        assert (await browser.post("/login", data={"name": "x" * 100_000})).status_code == 413

    async def test_form_in_no_utf8(self, browser: httpx2.AsyncClient) -> None:
        assert (await browser.post("/login", content=b"name=\xff\xfe")).status_code == 400


class TestMarkup:
    async def test_every_input_has_a_label_and_every_id_is_unique(self, alice_browser: httpx2.AsyncClient) -> None:
        for path in ("/settings", "/signup"):
            html = (await alice_browser.get(path)).text
            labelled = set(re.findall(r'<label for="([^"]+)"', html))
            inputs = re.findall(r"<input [^>]*>", html)
            shown = [tag for tag in inputs if 'type="hidden"' not in tag and 'aria-hidden="true"' not in tag]
            ids = [found[1] for tag in shown if (found := re.search(r'id="([^"]+)"', tag))]
            assert len(ids) == len(shown)
            assert set(ids) <= labelled
            every_id = re.findall(r' id="([^"]+)"', html)
            assert len(every_id) == len(set(every_id))

    async def test_style_is_found_and_kept(self, browser: httpx2.AsyncClient) -> None:
        found = re.search(r'rel="stylesheet" href="([^"]+)"', (await browser.get("/")).text)
        assert found is not None
        style = await browser.get(found[1])
        assert style.headers["content-type"].startswith("text/css")
        assert "immutable" in style.headers["cache-control"]
        assert ":focus-visible" in style.text

    async def test_landing_shows_how_to_begin(self, alice_browser: httpx2.AsyncClient) -> None:
        page = (await alice_browser.get("/")).text
        assert "JINA_HUBBLE_REGISTRY=http://hub.test" in page
        assert "alice/first" in page
