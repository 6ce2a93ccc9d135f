"""How often a password may be tried and a login or token be asked for.

The counts live in this process's memory: with several replicas behind a balancer each counts for itself, so the
limit of the whole hub is the limit below times the replicas. A restart forgets them.
"""

from __future__ import annotations

import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from palomar.contract.errors import RateLimited

_MAX_KEY_LENGTH = 64


class RateLimits:
    def __init__(self, *, login_attempts_per_minute: int, token_requests_per_minute: int) -> None:
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._logins = RateLimitItemPerMinute(login_attempts_per_minute)
        self._tokens = RateLimitItemPerMinute(token_requests_per_minute)

    def count_password_attempt(self, *, account: str, address: str) -> None:
        """Counted before the password is checked, so that parallel attempts cannot slip through. Raises RateLimited."""
        self._count(self._logins, "login-address", _network(address))
        self._count(self._logins, "login-account", account)

    def forgive_account(self, account: str) -> None:
        """The password was right: earlier slips of its owner count no more. Those of the address do."""
        self._limiter.clear(self._logins, "login-account", account[:_MAX_KEY_LENGTH])

    def count_token_request(self, *, address: str) -> None:
        """A token, a new account, or the start or end of a command line's login. Raises RateLimited."""
        self._count(self._tokens, "token-address", _network(address))

    def _count(self, limit: RateLimitItem, kind: str, key: str) -> None:
        key = key[:_MAX_KEY_LENGTH]
        if not self._limiter.hit(limit, kind, key):
            reset_at = self._limiter.get_window_stats(limit, kind, key).reset_time
            raise RateLimited(max(1, math.ceil(reset_at - time.time())))


def _network(address: str) -> str:
    """One subscriber of IPv6 has at least 2**64 addresses, which count as one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
