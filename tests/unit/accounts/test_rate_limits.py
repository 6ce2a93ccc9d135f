from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from palomar.contract.errors import RateLimited
from palomar.server.accounts.rate_limits import RateLimits

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def limits(logins: int = 3, tokens: int = 2) -> RateLimits:
    return RateLimits(login_attempts_per_minute=logins, token_requests_per_minute=tokens)


def test_one_account_from_many_addresses() -> None:
    counted = limits()
    for number in range(3):
        counted.count_password_attempt(account="alice", address=f"10.0.0.{number}")
    with pytest.raises(RateLimited):
        counted.count_password_attempt(account="alice", address="10.0.0.9")
    counted.count_password_attempt(account="bob", address="10.0.0.9")


def test_many_accounts_from_one_address() -> None:
    counted = limits()
    for name in ("a", "b", "c"):
        counted.count_password_attempt(account=name, address="10.0.0.1")
    with pytest.raises(RateLimited):
        counted.count_password_attempt(account="d", address="10.0.0.1")


def test_right_password_forgives_the_account_and_not_the_address() -> None:
    counted = limits()
    for _ in range(3):
        counted.count_password_attempt(account="alice", address="10.0.0.1")
    counted.forgive_account("alice")
    counted.count_password_attempt(account="alice", address="10.0.0.2")
    with pytest.raises(RateLimited):
        counted.count_password_attempt(account="alice", address="10.0.0.1")


def test_time_heals_and_the_error_says_how_much() -> None:
    counted = limits()
    with time_machine.travel(NOON, tick=False) as clock:
        counted.count_token_request(address="10.0.0.1")
        counted.count_token_request(address="10.0.0.1")
        clock.shift(timedelta(seconds=20))
        with pytest.raises(RateLimited) as limited:
            counted.count_token_request(address="10.0.0.1")
        assert limited.value.retry_after_s == 40
        clock.shift(timedelta(seconds=41))
        counted.count_token_request(address="10.0.0.1")


def test_logins_and_tokens_are_counted_apart() -> None:
    counted = limits(logins=2, tokens=2)
    for _ in range(2):
        counted.count_token_request(address="10.0.0.1")
    counted.count_password_attempt(account="alice", address="10.0.0.1")


def test_one_ipv6_subscriber_is_one_address() -> None:
    counted = limits()
    counted.count_token_request(address="2001:db8::1")
    counted.count_token_request(address="2001:db8::2")
    with pytest.raises(RateLimited):
        counted.count_token_request(address="2001:db8::3")
    counted.count_token_request(address="2001:db8:0:1::1")


def test_what_is_no_address_is_counted_too() -> None:
    counted = limits()
    counted.count_token_request(address="unknown")
    counted.count_token_request(address="unknown")
    with pytest.raises(RateLimited):
        counted.count_token_request(address="unknown")
