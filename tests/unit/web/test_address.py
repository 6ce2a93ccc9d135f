"""Where a request comes from and how it reached the hub: proxies are believed only where the operator says so."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from palomar.contract.errors import BadParameter
from palomar.server.settings import Settings
from palomar.server.web.address import base_url, client_address, is_https

PROXY = "10.0.0.2"
BEHIND = Settings(trusted_proxies=(PROXY,))
PUBLIC = Settings(public_url="https://hub.example.org/")


def request(peer: str | None = "192.0.2.7", *, scheme: str = "http", **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    client = None if peer is None else (peer, 5000)
    return Request({"type": "http", "method": "GET", "path": "/", "scheme": scheme, "headers": raw, "client": client})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        (PROXY, "198.51.100.1", "198.51.100.1"),
        (PROXY, "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        (PROXY, "203.0.113.9,", PROXY),
        (PROXY, None, PROXY),
        (None, "198.51.100.1", "unknown"),
    ],
)
def test_the_address_is_the_one_that_cannot_be_made_up(peer: str | None, forwarded: str | None, expected: str) -> None:
    headers = {} if forwarded is None else {"x_forwarded_for": forwarded}
    assert client_address(request(peer, **headers), BEHIND) == expected


def test_nobody_is_believed_by_default() -> None:
    assert client_address(request("127.0.0.1", x_forwarded_for="198.51.100.1"), Settings()) == "127.0.0.1"


def test_https_is_what_the_operator_the_trusted_proxy_or_the_connection_says() -> None:
    assert is_https(request(), PUBLIC)
    assert is_https(request(PROXY, x_forwarded_proto="https"), BEHIND)
    assert not is_https(request(x_forwarded_proto="https"), BEHIND)
    assert is_https(request(scheme="https", host="hub"), Settings())
    assert not is_https(request(host="hub"), Settings())


@pytest.mark.parametrize("host", ["hub", "hub.example.org", "hub:8484", "127.0.0.1:1", "[::1]:8484", "[fe80::1]"])
def test_the_hub_is_where_the_caller_reached_it(host: str) -> None:
    assert base_url(request(host=host), Settings()) == f"http://{host}"
    assert base_url(request(PROXY, host=host, x_forwarded_proto="https"), BEHIND) == f"https://{host}"


def test_the_configured_address_wins() -> None:
    assert base_url(request(host="evil.example"), PUBLIC) == "https://hub.example.org"


@pytest.mark.parametrize(
    "host", ["", "a b", "evil/path", "evil?x", "user@evil", "hub:", "hub:123456", 'x"', "é", "a" * 300]
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(BadParameter, match="PALOMAR_PUBLIC_URL"):
        base_url(request(host=host), Settings())


def test_a_request_without_a_host_is_refused() -> None:
    with pytest.raises(BadParameter):
        base_url(request(), Settings())
