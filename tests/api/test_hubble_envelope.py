"""How old clients ask, and the only answers that they can read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from palomar.contract.errors import PalomarError, catalogue
from palomar.server.web.errors import http_status, lookup
from palomar.server.web.hubble.rpc import STATUS
from palomar.server.wiring import Hub
from tests.api.hubble import RPC, STREAM, OldClient, old_client
from tests.fixtures.hubs import ClientFactory

# The table of jina-hubble-sdk 0.39 (hubble/excepts.py); any other number is a bare KeyError there.
CLIENT_TABLE = frozenset(
    {40001, 40002, 40003, 40004, 40101, 40102, 40103, 40301, 40401, 40402, 40403, 40501, 40502, 40901}
    | {41301, 41302, 42201, 42202, 42203, 42204, 50001, 50002, 50003, 50004, 50005, 50006}
)


@pytest.fixture
async def alice(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "alice")


@pytest.fixture
async def nobody(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, None)


@pytest.mark.parametrize("cls", catalogue().values(), ids=lambda cls: cls.code)
def test_every_error_has_a_number_that_clients_know(cls: type[PalomarError]):
    error = cls.__new__(cls)
    assert lookup(STATUS, error) in CLIENT_TABLE
    assert http_status(error) >= 400, "below 400 the client takes it for a success"


def test_only_40103_makes_clients_ask_for_a_login():
    for code in ("credential-missing", "credential-invalid", "unauthenticated", "login-failed"):
        cls = catalogue()[code]
        assert (http_status(cls.__new__(cls)), lookup(STATUS, cls.__new__(cls))) == (401, 40103)


async def test_success(alice: OldClient):
    answer = await alice.client.post(RPC + "artifact.list")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"code": 200, "status": 20000, "data": [], "meta": {"total": 0}}


async def test_refusal(alice: OldClient):
    body = await alice.post("artifact.getDetail", status=404, data={"name": "alice/absent"})
    assert body["status"] == 40403
    assert (
        body["message"] == body["readableMessage"] == "There is no array or file 'alice/absent', or you may not see it."
    )
    assert body["data"]["code"] == "not-found"
    assert body["data"]["requestId"]


async def test_an_unexpected_error_is_an_envelope_without_detail(
    alice: OldClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the password is in here")

    monkeypatch.setattr("palomar.server.web.hubble.artifacts.list_own", broken)
    answer = await alice.client.post(RPC + "artifact.list")
    assert answer.status_code == 500
    assert answer.json()["status"] == 50001
    assert "password" not in answer.text


@pytest.mark.parametrize("path", ["//v2/rpc/artifact.list", "/v2//rpc///artifact.list"])
async def test_repeated_slashes_are_one(alice: OldClient, path: str):
    """A trailing slash in JINA_HUBBLE_REGISTRY makes them; aiohttp and older requests keep them."""
    assert (await alice.client.post(str(alice.client.base_url).rstrip("/") + path)).status_code == 200


async def test_fifty_headers_with_underscores(alice: OldClient):
    headers = {f"JINA_SOME_VARIABLE_{number}": "(unset)" for number in range(30)}
    headers |= {f"jinameta-fact-{number}": "" for number in range(20)}
    assert (await alice.client.post(RPC + "artifact.list", headers=headers)).status_code == 200


async def test_an_unknown_method_is_named(alice: OldClient):
    body = await alice.post("artifact.nonsense", status=404)
    assert (body["status"], body["message"]) == (40402, "There is no method 'artifact.nonsense' on this hub.")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_get_and_post_alike(alice: OldClient, method: str):
    assert (await alice.client.request(method, RPC + "artifact.list")).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_another_verb_is_an_envelope_too(alice: OldClient, method: str):
    answer = await alice.client.request(method, RPC + "artifact.list")
    assert answer.status_code == 405
    assert answer.json()["status"] in CLIENT_TABLE


@pytest.mark.parametrize(
    "sent",
    [
        {"json": {"name": "alice/digits"}},
        {"data": {"name": "alice/digits"}},
        {"files": {"name": (None, "alice/digits")}},
        {"params": {"name": "alice/digits"}},
        {"content": json.dumps({"name": "alice/digits"}).encode()},
    ],
    ids=["json", "form", "multipart", "query", "json without a type"],
)
async def test_fields_come_in_every_form(alice: OldClient, sent: dict[str, Any]):
    await alice.push("alice/digits")
    assert (await alice.post("artifact.getDetail", **sent))["data"]["name"] == "alice/digits"


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b"1", b"nonsense", b"[" * 50_000], ids=lambda content: str(content[:10])
)
async def test_a_body_that_is_no_json_object(alice: OldClient, content: bytes):
    body = await alice.post("artifact.list", status=400, content=content)
    assert body["status"] == 40003
    assert "JSON" in body["message"]


@pytest.mark.parametrize(
    "method",
    ["artifact.upload", "artifact.list", "artifact.update", "artifact.delete", "artifact.deleteMany", "da.push"],
)
@pytest.mark.parametrize("header", [None, "token None", "token plm_wrong", "Basic YTpi"])
async def test_without_a_valid_token_nothing_of_ones_own(nobody: OldClient, method: str, header: str | None):
    headers = {} if header is None else {"Authorization": header}
    body = await nobody.post(method, status=401, headers=headers, files={"file": ("DocumentArray", STREAM)})
    assert body["status"] == 40103


async def test_token_none_is_nobody_and_a_wrong_token_is_not(alice: OldClient, nobody: OldClient):
    """An expired token must say so, and never turn into 'there is no such array'."""
    await alice.push("alice/digits")
    asked = {"params": {"name": "alice/digits"}}
    url = RPC + "artifact.getDownloadUrl"
    assert (await nobody.client.get(url, **asked)).status_code == 200
    assert (await nobody.client.get(url, headers={"Authorization": "token None"}, **asked)).status_code == 200
    assert (await nobody.client.get(url, headers={"Authorization": "token plm_wrong"}, **asked)).status_code == 401
