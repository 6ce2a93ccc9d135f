"""A refusal comes while the body is still being sent, and every client gets it rather than a broken connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.compat.conftest import Actor, prelude
from tests.faults.state import state_of
from tests.faults.wire import CONTENT_TYPE, open_socket, read_answer, request_head
from tests.fixtures.old_clients import OldClientFactory
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

UPLOAD = "/v2/rpc/artifact.upload"
LIMIT_BYTES = 1_000_000
TOO_MUCH = 50 * LIMIT_BYTES
BEGIN = b'--a-boundary-that-occurs-nowhere-else\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHub]:
    """A hub that takes a megabyte at most."""
    hub = LiveHub(tmp_path_factory.mktemp("limited"), PALOMAR_MAX_PUSH_BYTES=str(LIMIT_BYTES))
    hub.start()
    yield hub
    hub.kill()


@pytest.fixture(scope="module")
def token(small_hub: LiveHub) -> str:
    return small_hub.add_user("alice")


@pytest.mark.parametrize("given", [None, "plm_wrong", "None"])
@pytest.mark.parametrize("length", [TOO_MUCH, LIMIT_BYTES // 2, None])
def test_401_before_the_body_has_come(small_hub: LiveHub, given: str | None, length: int | None):
    with open_socket(small_hub.url) as sock:
        sock.sendall(request_head(UPLOAD, token=given, length=length))
        sock.sendall(BEGIN if length else b"64\r\n" + BEGIN[:100] + b"\r\n")
        answer = read_answer(sock)
    assert (answer.http, answer.json["status"]) == (401, 40103)


def test_413_before_a_body_that_says_it_is_too_long(small_hub: LiveHub, token: str):
    with open_socket(small_hub.url) as sock:
        sock.sendall(request_head(UPLOAD, token=token, length=TOO_MUCH))
        answer = read_answer(sock)
    assert (answer.http, answer.json["status"]) == (413, 41301)
    assert "1,000,000 bytes" in answer.message


def test_413_in_the_midst_of_a_body_that_does_not_end(small_hub: LiveHub, token: str):
    before = state_of(small_hub.data)
    with open_socket(small_hub.url) as sock:
        sock.sendall(request_head(UPLOAD, token=token, length=None))
        for piece in (BEGIN, *[bytes(100_000)] * 11):
            sock.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        answer = read_answer(sock)
    assert (answer.http, answer.json["status"]) == (413, 41301)
    assert state_of(small_hub.data) == before


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("is_known", [False, True])
def test_requests_gets_the_answer(small_hub: LiveHub, token: str, *, streamed: bool, is_known: bool):
    body = BEGIN + bytes(TOO_MUCH)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    answer = requests.post(
        small_hub.url + UPLOAD,
        data=pieces if streamed else body,
        headers={"Content-Type": CONTENT_TYPE, "Authorization": f"token {token if is_known else 'plm_wrong'}"},
        timeout=60,
    )
    assert answer.status_code == (413 if is_known else 401)
    assert answer.json()["status"] == (41301 if is_known else 40103)


@pytest.mark.parametrize("generation", ["d021", "d038"])
def test_docarray_gets_the_answer(small_hub: LiveHub, token: str, old_client: OldClientFactory, generation: str):
    alice = Actor(old_client(generation), small_hub.url, token, prelude(generation))
    push = {
        "d021": "DocumentArray([Document(blob=os.urandom(1 << 20)) for _ in range(40)]).push('alice/large')",
        "d038": "DocList[Media]([Media(data=os.urandom(1 << 20)) for _ in range(40)]).push('jac://alice/large')",
    }
    told = alice.fail(push[generation])
    assert "413 Client Error: The push is larger than the limit of 1,000,000 bytes. Nothing was stored." in told


def test_a_token_that_ends_meanwhile(small_hub: LiveHub, token: str, old_client: OldClientFactory):
    """The client checks first and pushes then; the push's own 401 must reach it as well."""
    alice = Actor(old_client("d021"), small_hub.url, token, prelude("d021"))
    told = alice.fail(
        """
        import hubble

        hubble.get_token = lambda *_a, **_k: "plm_ended"
        DocumentArray([Document(blob=os.urandom(1 << 20)) for _ in range(40)]).push("alice/x")
        """
    )
    assert "401 Client Error: The token is unknown, expired or revoked" in told
