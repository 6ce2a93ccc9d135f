"""Signed URLs: they open one path until their time is over, and nothing else."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine

from palomar.contract.errors import NotFound
from palomar.server.web.signed_urls import check_signature, sign_path

SECRET = b"s" * 32
PATH = "/download/" + "0" * 32


def opens(url: str, *, path: str | None = None, secret: bytes = SECRET, **changed: str) -> bool:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changed
    try:
        check_signature(secret, path or parts.path, expires=query["expires"], signature=query["signature"])
    except NotFound:
        return False
    return True


def test_a_signed_path_opens_until_its_time_is_over() -> None:
    with time_machine.travel(1_000_000, tick=False) as now:
        url = sign_path(SECRET, PATH, ttl_s=60)
        assert opens(url)
        now.shift(60)
        assert opens(url)
        now.shift(1)
        assert not opens(url)


def test_a_signature_is_of_one_path_one_time_and_one_secret() -> None:
    url = sign_path(SECRET, PATH, ttl_s=60)
    expires = parse_qs(urlsplit(url).query)["expires"][0]
    assert not opens(url, path=PATH[:-1] + "1")
    assert not opens(url, expires=str(int(expires) + 1))
    assert not opens(url, secret=b"t" * 32)


@pytest.mark.parametrize("signature", ["", "0" * 40, "é", "x" * 10_000])
def test_another_signature_opens_nothing(signature: str) -> None:
    assert not opens(sign_path(SECRET, PATH, ttl_s=60), signature=signature)


@pytest.mark.parametrize("expires", ["", "x", "-1", "1e9", "٣", "9" * 5000, " 5", "5\n"])
def test_an_expiry_that_is_no_number_opens_nothing(expires: str) -> None:
    assert not opens(sign_path(SECRET, PATH, ttl_s=60), expires=expires)


def test_the_signature_is_long_and_the_secret_is_not_in_the_url() -> None:
    signature = parse_qs(urlsplit(sign_path(SECRET, PATH, ttl_s=60)).query)["signature"][0]
    assert len(signature) == 40
    assert SECRET.decode() not in signature
