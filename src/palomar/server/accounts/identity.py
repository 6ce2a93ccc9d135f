"""What identity needs for the life of the process, put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from palomar.server.accounts.credentials import Credentials
from palomar.server.accounts.keys import Keyring
from palomar.server.accounts.login_watch import LoginWatch
from palomar.server.accounts.rate_limits import RateLimits
from palomar.server.accounts.registry_tokens import RegistryTokens
from palomar.server.accounts.usage import UsageLog
from palomar.server.db.engine import Database


@dataclass(frozen=True, slots=True)
class Identity:
    keys: Keyring
    credentials: Credentials
    registry_tokens: RegistryTokens
    limits: RateLimits
    usage: UsageLog
    logins: LoginWatch

    @classmethod
    async def open(cls, database: Database, *, login_attempts_per_minute: int, token_requests_per_minute: int) -> Self:
        """The database must have its tables; makes the hub's keys if it has none yet."""
        keys = await Keyring.open(database)
        usage = UsageLog(database)
        limits = RateLimits(
            login_attempts_per_minute=login_attempts_per_minute, token_requests_per_minute=token_requests_per_minute
        )
        credentials = Credentials(database, keys, usage)
        return cls(keys, credentials, RegistryTokens(keys, credentials), limits, usage, LoginWatch(database))

    async def close(self) -> None:
        """Before the database closes."""
        await self.logins.close()
        await self.usage.flush()
