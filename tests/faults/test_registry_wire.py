"""The registry over real sockets: large blobs, broken connections, restarts, refusals in the midst of a body."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import httpx2
import pytest

from tests.faults.wire import open_socket, read_answer
from tests.unit.documents.streams import random_bytes
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LARGE = random_bytes(11, 20_000_000)
DIGEST = "sha256:" + hashlib.sha256(LARGE).hexdigest()
HALF = 8_000_000
REPOSITORY = "/v2/alice/birds"
PATIENCE_S = 30


@dataclass
class Alice:
    hub: LiveHub
    token: str

    @property
    def client(self) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {self.token}"}
        return httpx2.Client(base_url=self.hub.url, headers=headers, timeout=60)

    def start(self) -> str:
        with self.client as client:
            location: str = client.post(f"{REPOSITORY}/blobs/uploads/").headers["location"]
        return location

    def received(self, location: str) -> int:
        with self.client as client:
            answer = client.get(location)
        assert answer.status_code == 204, answer.text
        return int(answer.headers["range"].partition("-")[2]) + 1

    def head(self, method: str, path: str, *, length: int | None, token: str | None = None) -> bytes:
        """Of a request whose body is sent by hand."""
        framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        lines = (
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.hub.port}",
            f"Authorization: Bearer {token or self.token}",
            framing,
        )
        return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.fixture(scope="module")
def alice(module_hub: LiveHub) -> Alice:
    return Alice(module_hub, module_hub.add_user("alice"))


def test_a_large_blob_comes_back_whole_and_in_parts(alice: Alice):
    with alice.client as client:
        pushed = client.post(f"{REPOSITORY}/blobs/uploads/", params={"digest": DIGEST}, content=LARGE)
        assert pushed.status_code == 201
        url = pushed.headers["location"]
        whole = client.get(url)
        assert whole.content == LARGE
        assert whole.headers["content-length"] == str(len(LARGE))
        assert "transfer-encoding" not in whole.headers
        assert whole.headers["x-content-type-options"] == "nosniff"
        head = client.head(url)
        assert (head.content, head.headers["content-length"]) == (b"", str(len(LARGE)))
        part = client.get(url, headers={"Range": "bytes=5000000-14999999"})
        assert (part.status_code, part.content) == (206, LARGE[5_000_000:15_000_000])
        resumed = client.get(url, headers={"Range": "bytes=19999999-"})
        assert (resumed.status_code, resumed.content) == (206, LARGE[-1:])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_blob_without_a_byte_comes_back(alice: Alice, method: str):
    digest = "sha256:" + hashlib.sha256(b"").hexdigest()
    with alice.client as client:
        assert client.post(f"{REPOSITORY}/blobs/uploads/", params={"digest": digest}).status_code == 201
        answer = client.request(method, f"{REPOSITORY}/blobs/{digest}")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_an_upload_goes_on_after_its_connection_broke(alice: Alice):
    location = alice.start()
    with open_socket(alice.hub.url) as sock:
        sock.sendall(alice.head("PATCH", location, length=len(LARGE)))
        sock.sendall(LARGE[:HALF])
    give_up_at = time.monotonic() + PATIENCE_S
    while alice.received(location) <= 1 and time.monotonic() < give_up_at:
        time.sleep(0.1)
    received = alice.received(location)
    assert 1 < received <= HALF
    with alice.client as client:
        rest = {"Content-Range": f"{received}-{len(LARGE) - 1}"}
        assert client.patch(location, content=LARGE[received:], headers=rest).status_code == 202
        assert client.put(location, params={"digest": DIGEST}).status_code == 201
        assert client.get(f"{REPOSITORY}/blobs/{DIGEST}").content == LARGE


def test_an_upload_goes_on_after_the_hub_was_killed(alice: Alice):
    location = alice.start()
    with alice.client as client:
        assert client.patch(location, content=LARGE[:HALF]).status_code == 202
    alice.hub.kill()
    alice.hub.start()
    assert alice.received(location) == HALF
    with alice.client as client:
        closed = client.put(location, params={"digest": DIGEST}, content=LARGE[HALF:])
        assert closed.status_code == 201
        assert client.get(closed.headers["location"]).content == LARGE


@pytest.mark.parametrize("length", [len(LARGE), None])
def test_a_wrong_token_is_refused_while_the_body_is_still_to_come(alice: Alice, length: int | None):
    location = alice.start()
    with open_socket(alice.hub.url) as sock:
        sock.sendall(alice.head("PATCH", location, length=length, token="plm_wrong"))
        sock.sendall(LARGE[:1000] if length else b"64\r\n" + LARGE[:100] + b"\r\n")
        answer = read_answer(sock)
    assert answer.http == 401
    assert answer.json["errors"][0]["code"] == "UNAUTHORIZED"


def test_a_manifest_that_says_it_is_too_large_is_refused_before_it_comes(alice: Alice):
    with open_socket(alice.hub.url) as sock:
        sock.sendall(alice.head("PUT", f"{REPOSITORY}/manifests/v1", length=50_000_000))
        answer = read_answer(sock)
    assert answer.http == 413
    assert answer.json["errors"][0]["code"] == "SIZE_INVALID"


def test_a_manifest_that_does_not_end_is_refused_in_its_midst(alice: Alice):
    with open_socket(alice.hub.url) as sock:
        sock.sendall(alice.head("PUT", f"{REPOSITORY}/manifests/v1", length=None))
        for _ in range(50):
            sock.sendall(b"186A0\r\n" + LARGE[:100_000] + b"\r\n")
        answer = read_answer(sock)
    assert answer.http == 413
