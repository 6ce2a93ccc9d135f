"""What breaks old clients and only a real server can show: headers, chunks, and streams that stay open."""

from __future__ import annotations

import json
import socket
from http.client import HTTPResponse
from urllib.parse import urlsplit

import pytest

from tests.faults.streams import documents_of, numbered_stream
from tests.faults.wire import Wire, open_socket, read_answer
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LARGE = numbered_stream(1, documents=1500, padding=20_000)  # 30 MB: more than the buffers between the two


@pytest.fixture
def alice(module_hub: LiveHub, tokens: dict[str, str]) -> Wire:
    return Wire(module_hub.url, tokens["alice"])


def ask(sock: socket.socket, method: str, path: str, *headers: str) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())


def download_path(wire: Wire, name: str) -> str:
    told = wire.get(f"/v2/rpc/artifact.getDownloadUrl?name={name}", **wire.headers())
    parts = urlsplit(told.json["data"]["download"])
    assert f"{parts.scheme}://{parts.netloc}" == wire.url
    return f"{parts.path}?{parts.query}"


def test_a_download_has_an_exact_length_and_no_encoding(alice: Wire, name: str):
    assert alice.push(LARGE, f"alice/{name}").http == 200
    answer = alice.get(download_path(alice, f"alice/{name}"), **{"Accept-Encoding": "gzip, deflate, br"})
    assert answer.headers["content-length"] == str(len(answer.body))
    assert not {"transfer-encoding", "content-encoding", "set-cookie"} & answer.headers.keys()
    assert documents_of(answer.body) == documents_of(LARGE)


def test_a_push_during_a_slow_pull_changes_nothing_under_it(alice: Wire, name: str):
    full_name = f"alice/{name}"
    assert alice.push(LARGE, full_name).http == 200
    with open_socket(alice.url) as sock:
        ask(sock, "GET", download_path(alice, full_name))
        response = HTTPResponse(sock)
        response.begin()
        begun = response.read(100_000)
        assert alice.push(numbered_stream(2), full_name).http == 200
        assert documents_of(alice.pull(full_name).body) == documents_of(numbered_stream(2))
        rest = response.read()
    assert documents_of(begun + rest) == documents_of(LARGE)


def test_head_and_range(alice: Wire, name: str):
    assert alice.push(LARGE, f"alice/{name}").http == 200
    path = download_path(alice, f"alice/{name}")
    whole = alice.get(path).body
    part = alice.get(path, Range="bytes=9000000-19999999")
    assert (part.http, part.body) == (206, whole[9_000_000:20_000_000])
    with open_socket(alice.url) as sock:
        ask(sock, "HEAD", path)
        response = HTTPResponse(sock, method="HEAD")
        response.begin()
        assert (response.status, response.getheader("Content-Length")) == (200, str(len(whole)))


@pytest.mark.parametrize("path", ["/v2/rpc/user.identity.whoami", "//v2/rpc/user.identity.whoami"])
def test_about_fifty_headers_some_with_underscores_some_empty(alice: Wire, path: str):
    """jina sends its environment along (`JINA_DEFAULT_HOST: (unset)`)."""
    headers = [f"JINA_VARIABLE_{number}: (unset)" for number in range(25)]
    headers += [f"jinameta-fact-{number}:" for number in range(25)]
    with open_socket(alice.url) as sock:
        ask(sock, "POST", path, f"Authorization: token {alice.token}", "Content-Length: 0", *headers)
        answer = read_answer(sock)
    assert answer.json["data"]["name"] == "alice"


@pytest.mark.parametrize("header", ["token None", "token null"])
def test_a_token_that_says_none_is_nobody(alice: Wire, name: str, header: str):
    assert alice.push(numbered_stream(1), f"alice/{name}").http == 200
    path = f"/v2/rpc/artifact.getDownloadUrl?name=alice/{name}"
    assert alice.get(path, Authorization=header).http == 200
    with open_socket(alice.url) as sock:
        ask(sock, "POST", "/v2/rpc/user.session.dismiss", f"Authorization: {header}", "Content-Length: 0")
        answer = read_answer(sock)
    # Logout looks at the code in the body, and only at JSON.
    assert answer.json["code"] == 401
    assert answer.headers["content-type"] == "application/json"


def test_the_login_stream_shows_its_first_line_while_it_is_open(alice: Wire):
    """Without chunks the client would show the address only when the login is over."""
    with open_socket(alice.url) as sock:
        ask(sock, "GET", "/v2/rpc/user.identity.proxiedAuthorize?prompt=login", "Accept-Encoding: gzip, deflate")
        response = HTTPResponse(sock)
        response.begin()
        assert response.status == 200
        assert response.getheader("Transfer-Encoding") == "chunked"
        assert response.getheader("Content-Length") is None
        assert response.getheader("Content-Encoding") is None
        event = json.loads(response.readline())
        assert event["event"] == "redirect"
        assert event["data"]["redirectTo"].startswith("http://127.0.0.1/login/cli?request=")


def test_a_post_is_never_redirected_into_a_get(alice: Wire):
    """`requests` turns 301 and 302 into a GET without the body."""
    for path in ("artifact.list", "artifact.list/", "/artifact.list", "nonsense"):
        assert alice.post(path).http not in {301, 302, 303}


def test_errors_are_json_whatever_was_asked(alice: Wire):
    for path in ("/v2/rpc/nonsense", "/v2/rpc/", "/v2/rpc/a/b", "/download/absent"):
        assert json.loads(alice.get(path).body)
